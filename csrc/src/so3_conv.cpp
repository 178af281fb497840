// Products with the spherical harmonics of edge directions, from senders to receivers.
//
// The filter is made inside each tile, so that nothing of the size of edges x components x channels is ever stored, and
// the messages of a receiver are added up inside the tile too: in the order of the edges, whatever the threads.
#include "so3_tiles.hpp"

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "so3_tables.hpp"

#include <algorithm>

namespace telamon::so3 {
namespace {

using namespace tiles;

template <class T>
struct conv_plan {
  int l1, l2, l3;
  detail::product_tables<T> tables;
  const tile_order *x, *y, *z;
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

// The harmonics of the directions of one edge after the other; made for many at a time, which is much cheaper.
template <class T>
class edge_harmonics {
 public:
  edge_harmonics(const conv_plan<T>& plan, std::size_t end)
      : plan_(plan), size_(std::size_t(components(plan.l2))), end_(end), values_(many * size_), directions_(3 * many) {}

  // Of the edge at this place in the order.
  const T* at(std::size_t place) {
    if (place >= first_ + count_ || place < first_) fill(place);
    return values_.data() + (place - first_) * size_;
  }

 private:
  static constexpr std::size_t many = 64;

  void fill(std::size_t place) {
    first_ = place, count_ = std::min(many, end_ - place);
    const vectors<const T>& d = plan_.edges->directions;
    for (std::size_t i = 0; i < count_; ++i) {
      const T* from = d.data + std::ptrdiff_t(plan_.edge(place + i)) * d.sample;
      for (int axis = 0; axis < 3; ++axis) directions_[3 * i + std::size_t(axis)] = from[axis * d.component];
    }
    solid_harmonics(plan_.l2, vectors<const T>{directions_.data(), 3, 1},
                    vectors<T>{values_.data(), std::ptrdiff_t(size_), 1}, count_);
  }

  const conv_plan<T>& plan_;
  std::size_t size_, end_, first_ = 0, count_ = 0;
  std::vector<T> values_, directions_;
};

TELAMON_MULTIVERSION_TEMPLATE(
    conv_tiles, (class T),
    (const conv_plan<T>& plan, vector<T>* memory, edge_harmonics<T>& harmonics, std::size_t begin, std::size_t end), {
      const int k1 = components(plan.l1), k2 = components(plan.l2), k3 = components(plan.l3);
      const edge_list<T>& edges = *plan.edges;
      const std::size_t tiles = plan.tiles();
      vector<T>*x = memory, *y = x + k1, *all = y + k2, *rest = all + tiles * std::size_t(k3);
      const int *degree = plan.y->degree.data(), *component = plan.y->component.data();
      detail::clear_product(kind::even, plan.l1, plan.l2, rest);
      for (std::size_t output = begin; output < end; ++output) {
        for (std::size_t i = 0; i < tiles * std::size_t(k3); ++i) all[i] = vector<T>{};
        for (std::size_t place = plan.first_of(output); place < plan.first_of(output + 1); ++place) {
          const std::size_t edge = plan.edge(place);
          const auto node = std::ptrdiff_t(edges.senders ? std::size_t(edges.senders[edge]) : edge);
          const T* function = harmonics.at(place);
          const features<const T> from(plan.in.data + node * plan.in.sample, 0, plan.in.component, plan.in.channel);
          const features<const T> w(edges.weights.data + std::ptrdiff_t(edge) * edges.weights.sample, 0,
                                    edges.weights.component, edges.weights.channel);
          for (std::size_t tile = 0; tile < tiles; ++tile) {
            const columns at(tile * lanes<T>::count, plan.channels, plan.channels);
            gather(from, at, plan.x->component.data(), k1, x);
            gather(w, at, degree, k2, y);
            for (int s = 0; s < k2; ++s) y[s] *= function[component[s]];
            vector<T>* z = all + tile * std::size_t(k3);
            detail::product_tile<kind::even, detail::block_pairs, false>(plan.tables, x, y, z,
                                                                         static_cast<vector<T>*>(nullptr), rest);
          }
        }
        const features<T> to(plan.out.data + std::ptrdiff_t(output) * plan.out.sample, 0, plan.out.component,
                             plan.out.channel);
        for (std::size_t tile = 0; tile < tiles; ++tile) {
          const columns at(tile * lanes<T>::count, plan.channels, plan.channels);
          scatter(all + tile * std::size_t(k3), plan.z->component.data(), k3, to, at, false);
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
  plan.x = &order_of(l1), plan.y = &order_of(l2), plan.z = &order_of(l3);
  plan.in = x, plan.out = out, plan.edges = &edges, plan.channels = channels;
  if (edges.receivers) group_by_receiver(plan);
  if (edges.outputs == 0 || channels == 0) return;
  const std::size_t size = std::size_t(components(l1) + components(l2)) +
                           std::size_t(detail::product_scratch(kind::even, l1, l2, l3)) +
                           plan.tiles() * std::size_t(components(l3));
  const double l = std::max({l1, l2, l3}) + 1;
  parallel_for(edges.outputs, tile_grain(2 * l * l * l * double(channels)), [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(size);
    edge_harmonics<T> harmonics(plan, plan.first_of(end));
    conv_tiles<T>::run(plan, memory.data(), harmonics, begin, end);
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
