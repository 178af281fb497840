// Products with the spherical harmonics of edge directions, from senders to receivers.
//
// A rotation brings the edge to the pole, where its harmonics have m = 0 only; there the product is cheap, and another
// rotation brings it back. Nothing of the size of edges x components x channels is ever stored, and the messages of a
// receiver are added up inside the tile: in the order of the edges, whatever the threads.
#include <telamon/so3/product_axial.hpp>

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace telamon::so3 {
namespace {

using namespace tiles;

template <class T>
struct conv_plan {
  int l1, l2, l3;
  detail::product_tables<T> tables;
  const tile_order *natural_x, *natural_z;
  std::vector<int> natural_y, x_slot, z_component;  // x_slot: where a component stands in the tile
  std::vector<T> at_pole;                           // Y_l0 at the pole, sqrt(2l + 1)
  features<const T> in;
  features<T> out;
  const edge_list<T>* edges;
  std::vector<std::size_t> start, order;  // the edges of each receiver: order[start[r]], ..., where there are receivers
  std::size_t channels;

  // The edges of an output are at the places first_of(output), ..., first_of(output + 1) - 1.
  std::size_t first_of(std::size_t output) const { return edges->receivers ? start[output] : output; }
  std::size_t edge(std::size_t place) const { return edges->receivers ? order[place] : place; }
  std::size_t tiles() const { return (channels + lanes<T>::count - 1) / lanes<T>::count; }
};

// The rotations that bring the pole to the directions of one edge after the other; made for many at a time.
template <class T>
class edge_rotations {
 public:
  edge_rotations(const conv_plan<T>& plan, std::size_t end)
      : plan_(plan),
        lmax_(std::max(plan.l1, plan.l3)),
        end_(end),
        matrices_(many * std::size_t(wigner_size(lmax_))),
        rotations_(9 * many) {}

  // The matrices of all degrees for the edge at this place in the order.
  const T* at(std::size_t place) {
    if (place >= first_ + count_ || place < first_) fill(place);
    return matrices_.data() + std::ptrdiff_t(place - first_) * wigner_size(lmax_);
  }

 private:
  static constexpr std::size_t many = 32;

  void fill(std::size_t place) {
    first_ = place, count_ = std::min(many, end_ - place);
    const vectors<const T>& d = plan_.edges->directions;
    for (std::size_t i = 0; i < count_; ++i) {
      const T* from = d.data + std::ptrdiff_t(plan_.edge(place + i)) * d.sample;
      rotation_to(from[0], from[d.component], from[2 * d.component], rotations_.data() + 9 * i);
    }
    all_wigner_d(lmax_, rotations_.data(), matrices_.data(), count_);
  }

  // A rotation of the y axis to (x, y, z), of length 1: the columns are a, r, c with c x a = r, by Duff et al.,
  // "Building an Orthonormal Basis, Revisited", 2017, which loses no accuracy anywhere.
  static void rotation_to(T x, T y, T z, T* out) {
    const T sign = std::copysign(T(1), z), p = -1 / (sign + z), q = x * y * p;
    const T c[3] = {1 + sign * x * x * p, sign * q, -sign * x}, a[3] = {q, sign + y * y * p, -y}, r[3] = {x, y, z};
    for (int k = 0; k < 3; ++k) out[3 * k] = a[k], out[3 * k + 1] = r[k], out[3 * k + 2] = c[k];
  }

  const conv_plan<T>& plan_;
  int lmax_;
  std::size_t end_, first_ = 0, count_ = 0;
  std::vector<T> matrices_, rotations_;
};

TELAMON_MULTIVERSION_TEMPLATE(
    conv_tiles, (class T),
    (const conv_plan<T>& plan, vector<T>* memory, edge_rotations<T>& rotations, std::size_t begin, std::size_t end), {
      const int k1 = components(plan.l1), k3 = components(plan.l3), n2 = plan.l2 + 1;
      const edge_list<T>& edges = *plan.edges;
      const std::size_t tiles = plan.tiles();
      vector<T>*x = memory, *turned = x + k1, *y = turned + k1, *z = y + n2, *all = z + 2 * k3;
      vector<T>* rest = all + tiles * std::size_t(k3);
      detail::clear_circles(rest, plan.l1, 2 * detail::block_pairs);
      for (std::size_t output = begin; output < end; ++output) {
        for (std::size_t i = 0; i < tiles * std::size_t(k3); ++i) all[i] = vector<T>{};
        for (std::size_t place = plan.first_of(output); place < plan.first_of(output + 1); ++place) {
          const std::size_t edge = plan.edge(place);
          const auto node = std::ptrdiff_t(edges.senders ? std::size_t(edges.senders[edge]) : edge);
          const T* const matrices = rotations.at(place);
          const features<const T> from(plan.in.data + node * plan.in.sample, 0, plan.in.component, plan.in.channel);
          const features<const T> w(edges.weights.data + std::ptrdiff_t(edge) * edges.weights.sample, 0,
                                    edges.weights.component, edges.weights.channel);
          for (std::size_t tile = 0; tile < tiles; ++tile) {
            const columns at(tile * lanes<T>::count, plan.channels, plan.channels);
            gather(from, at, plan.natural_x->component.data(), k1, x);
            gather(w, at, plan.natural_y.data(), n2, y);
            for (int l = 0; l < n2; ++l) y[l] *= plan.at_pole[std::size_t(l)];
            for (int l = 0; l <= plan.l1; ++l) {
              const int* const slot = plan.x_slot.data() + l * l;
              const int size = 2 * l + 1;
              apply_matrix<1>(
                  matrices + wigner_size(l - 1), 1, size, size,
                  [&](int n, int) TELAMON_INLINE_LAMBDA { return x[l * l + n]; },
                  [&](int m, int, const vector<T>& v) TELAMON_INLINE_LAMBDA { turned[slot[m]] = v; });
            }
            for (int k = 0; k < k3; ++k) z[k] = vector<T>{};
            detail::axial_product_tile(plan.tables, static_cast<const vector<T>*>(turned),
                                       static_cast<const vector<T>*>(y), z, rest);
            vector<T>*natural = z + k3, *sum = all + tile * std::size_t(k3);
            for (int k = 0; k < k3; ++k) natural[plan.z_component[std::size_t(k)]] = z[k];
            for (int l = 0; l <= plan.l3; ++l) {
              const int size = 2 * l + 1;
              apply_matrix<1>(
                  matrices + wigner_size(l - 1), size, 1, size,
                  [&](int n, int) TELAMON_INLINE_LAMBDA { return natural[l * l + n]; },
                  [&](int m, int, const vector<T>& v) TELAMON_INLINE_LAMBDA { sum[l * l + m] += v; });
            }
          }
        }
        const features<T> to(plan.out.data + std::ptrdiff_t(output) * plan.out.sample, 0, plan.out.component,
                             plan.out.channel);
        for (std::size_t tile = 0; tile < tiles; ++tile) {
          const columns at(tile * lanes<T>::count, plan.channels, plan.channels);
          scatter(all + tile * std::size_t(k3), plan.natural_z->component.data(), k3, to, at, false);
        }
      }
    })

// Sorts the edges by receiver, stably.
template <class T>
void group_by_receiver(conv_plan<T>& plan) {
  const edge_list<T>& edges = *plan.edges;
  plan.start.assign(edges.outputs + 1, 0);
  for (std::size_t e = 0; e < edges.edges; ++e) {
    const std::int64_t r = edges.receivers[e];
    require(0 <= r && std::size_t(r) < edges.outputs, "so3.gaunt_conv: receivers[", e, "] is ", r, ", there are ",
            edges.outputs, " receivers; pass numbers from 0 to ", edges.outputs, " - 1");
    ++plan.start[std::size_t(r) + 1];
  }
  for (std::size_t r = 0; r < edges.outputs; ++r) plan.start[r + 1] += plan.start[r];
  std::vector<std::size_t> next(plan.start.begin(), plan.start.end() - 1);
  plan.order.resize(edges.edges);
  for (std::size_t e = 0; e < edges.edges; ++e) plan.order[next[std::size_t(edges.receivers[e])]++] = e;
}

template <class T>
void conv(int l1, int l2, int l3, features<const T> x, const edge_list<T>& edges, features<T> out,
          std::size_t channels) {
  require(l1 >= 0 && l2 >= 0 && 0 <= l3 && l3 <= l1 + l2, "so3.gaunt_conv: the degrees are ", l1, ", ", l2, " and ", l3,
          "; pass degrees from 0 on, the last at most the sum of the others");
  require(edges.receivers || edges.outputs == edges.edges, "so3.gaunt_conv: there are ", edges.outputs, " outputs for ",
          edges.edges, " edges without receivers; pass equal numbers");
  const int nodes = nodes_for(l1 + l2 + l3);
  conv_plan<T> plan;
  plan.l1 = l1, plan.l2 = l2, plan.l3 = l3;
  plan.tables = {parallels_of<T>(l1, nodes), parallels_of<T>(l2, nodes), parallels_of<T>(l3, nodes)};
  plan.natural_x = &natural_order_of(l1), plan.natural_z = &natural_order_of(l3);
  plan.z_component = order_of(l3).component;
  const std::vector<int>& x_component = order_of(l1).component;
  plan.x_slot.resize(x_component.size());
  for (std::size_t slot = 0; slot < x_component.size(); ++slot) plan.x_slot[std::size_t(x_component[slot])] = int(slot);
  for (int l = 0; l <= l2; ++l) plan.natural_y.push_back(l), plan.at_pole.push_back(T(std::sqrt(2 * l + 1.0)));
  plan.in = x, plan.out = out, plan.edges = &edges, plan.channels = channels;
  if (edges.receivers) group_by_receiver(plan);
  if (edges.outputs == 0 || channels == 0) return;
  const std::size_t size = std::size_t(2 * components(l1) + l2 + 1 + 2 * components(l3)) +
                           plan.tiles() * std::size_t(components(l3)) + std::size_t(detail::axial_scratch(l1, l3));
  const double l = std::max({l1, l2, l3}) + 1;
  parallel_for(edges.outputs, tile_grain(l * l * l * double(channels)), [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(size);
    edge_rotations<T> rotations(plan, plan.first_of(end));
    conv_tiles<T>::run(plan, memory.data(), rotations, begin, end);
  });
}

}  // namespace

void gaunt_conv(int l1, int l2, int l3, features<const float> x, const edge_list<float>& edges, features<float> out,
                std::size_t channels) {
  conv(l1, l2, l3, x, edges, out, channels);
}
void gaunt_conv(int l1, int l2, int l3, features<const double> x, const edge_list<double>& edges, features<double> out,
                std::size_t channels) {
  conv(l1, l2, l3, x, edges, out, channels);
}

}  // namespace telamon::so3
