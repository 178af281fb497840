// Products of functions on the sphere, given and wanted as coefficients of real spherical harmonics, for one tile: V is
// what one instruction works on, a SIMD vector of channels on the host and one channel on the device.
//
//   1. synthesis   c_m(theta) = sum_l P_lm(theta) x_lm, the Fourier coefficients on each parallel theta
//   2. convolution h_m = sum_k c_k d_{m-k}, the product on that parallel
//   3. analysis    z_lm = 1/2 sum_i w_i P_lm(theta_i) h_m(theta_i), Gauss-Legendre: exact with n nodes for degrees that
//                  add up to less than 2n
//
// Multiply-adds for degrees L, L -> L: 6 L^2 + 1 on each of 3L/2 + 1 parallels, and 9/4 L^3 for the other two steps.
// Going through values on the circle instead costs three folded DFTs, 9/2 L^2 + 25 L or so, which is more up to L = 16;
// by FFT (product_fft.hpp) it pays from L = 24 or so.
//
// The odd product is the Poisson bracket {f, g} = (f_theta g_phi - f_phi g_theta)/sin theta, which has degree l1+l2-1
// and couples the l1 + l2 + l3 that are odd (arXiv:2605.15073): the same three steps with derivatives.
//
// Inside a tile, coefficients stand by order: for m = 0, 1, ...: for l = m, m+1, ...: the cosine part and, for m > 0,
// the sine part. Tables have the same order and for each (m, l) one number a parallel of the northern half. With x_cos
// and x_sin the parts, c_m = (x_cos - i x_sin)/sqrt2 for m > 0; tables hold the factor.
#pragma once

#include <telamon/so3.hpp>

namespace telamon::so3 {

namespace detail {

// How many parallels of one hemisphere go through the three steps together: enough to load each coefficient rarely.
// Where memory is scarcer than loads, as on a GPU, kernels take one, by their parameter Pairs.
inline constexpr int block_pairs = 6;

// The table of one degree lmax on one set of parallels: `pairs` of them, from the pole to the equator, and their mirror
// images. Where `equator`, the last one is its own image.
template <class T>
struct parallels {
  int lmax = 0, pairs = 0;
  bool equator = false;
  const T* synthesis = nullptr;  // P_lm, [order of coefficients][pairs]
  const T* slope = nullptr;      // dP_lm/dtheta
  const T* analysis = nullptr;   // with the weights
  const T* inverse_sine = nullptr;
};

// The Fourier coefficients of a real function on one parallel: c_k = a[k] - i b[k], k = 0..degree, c_{-k} their
// conjugates. There is a zero at each end, so that loops may run one step over.
template <class V>
struct circle {
  V *a, *b;  // at k = 0
};
TELAMON_HD constexpr int circle_size(int degree) noexcept { return 2 * (degree + 3); }
template <class V>
TELAMON_HD TELAMON_INLINE circle<V> circle_at(V* memory, int degree, int index) noexcept {
  V* start = memory + std::ptrdiff_t(index) * circle_size(degree);
  return {start + 1, start + degree + 4};
}
template <class V>
TELAMON_HD TELAMON_INLINE void close_circle(circle<V> c, int degree) noexcept {
  c.a[-1] = c.a[degree + 1] = c.b[-1] = c.b[degree + 1] = V{};
}
// What stays zero in all circles that are written into this memory later.
template <class V>
TELAMON_HD TELAMON_INLINE void clear_circles(V* memory, int degree, int count) noexcept {
  for (int i = 0; i < count; ++i) {
    const circle<V> c = circle_at(memory, degree, i);
    c.a[0] = c.b[0] = V{};  // slopes in phi have neither
    close_circle(c, degree);
  }
}

// ---- synthesis on `Rows` pairs of parallels for one order m. Parts: 1 for m = 0, which has no sine, else 2.
template <bool Slope, int Rows, int Parts, class T, class V>
TELAMON_HD TELAMON_INLINE void synthesize_order(int m, int degree, const T* table, int pairs, const V* x,
                                                V* circles) noexcept {
  V e[Rows][Parts], o[Rows][Parts];  // of even and of odd l + m
  TELAMON_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TELAMON_UNROLL
    for (int p = 0; p < Parts; ++p) e[r][p] = table[r] * x[p], o[r][p] = V{};
  }
  int l = m + 1;
  for (; l < degree; l += 2) {
    table += pairs, x += Parts;
    TELAMON_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TELAMON_UNROLL
      for (int p = 0; p < Parts; ++p) o[r][p] += table[r] * x[p];
    }
    table += pairs, x += Parts;
    TELAMON_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TELAMON_UNROLL
      for (int p = 0; p < Parts; ++p) e[r][p] += table[r] * x[p];
    }
  }
  if (l == degree) {
    table += pairs, x += Parts;
    TELAMON_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TELAMON_UNROLL
      for (int p = 0; p < Parts; ++p) o[r][p] += table[r] * x[p];
    }
  }
  TELAMON_UNROLL
  for (int r = 0; r < Rows; ++r) {
    // The reflection theta -> pi - theta keeps P_lm for even l + m; d/dtheta changes the sign.
    V north[2] = {}, south[2] = {};
    TELAMON_UNROLL
    for (int p = 0; p < Parts; ++p) {
      north[p] = e[r][p] + o[r][p];
      south[p] = Slope ? o[r][p] - e[r][p] : e[r][p] - o[r][p];
    }
    const circle<V> n = circle_at(circles, degree, 2 * r), s = circle_at(circles, degree, 2 * r + 1);
    n.a[m] = north[0], n.b[m] = north[1], s.a[m] = south[0], s.b[m] = south[1];
  }
}

template <bool Slope, int Rows, class T, class V>
TELAMON_HD TELAMON_INLINE void synthesize_rows(const T* table, int degree, int pairs, const V* x, V* circles) noexcept {
  synthesize_order<Slope, Rows, 1>(0, degree, table, pairs, x, circles);
  table += std::ptrdiff_t(degree + 1) * pairs, x += degree + 1;
  for (int m = 1; m <= degree; ++m) {
    synthesize_order<Slope, Rows, 2>(m, degree, table, pairs, x, circles);
    table += std::ptrdiff_t(degree + 1 - m) * pairs, x += 2 * (degree + 1 - m);
  }
}

// Circles 2i (north) and 2i + 1 (south) for the pairs first + i, i < count.
template <bool Slope, int Pairs, class T, class V>
TELAMON_HD TELAMON_INLINE void synthesize(const parallels<T>& at, int first, int count, const V* x,
                                          V* circles) noexcept {
  const T* table = (Slope ? at.slope : at.synthesis) + first;
  const std::ptrdiff_t pair = 2 * circle_size(at.lmax);
  int i = 0;
  if constexpr (Pairs >= 3)
    for (; i + 3 <= count; i += 3) synthesize_rows<Slope, 3>(table + i, at.lmax, at.pairs, x, circles + i * pair);
  if constexpr (Pairs >= 2)
    if (count - i == 2) synthesize_rows<Slope, 2>(table + i, at.lmax, at.pairs, x, circles + i * pair);
  if (count - i == 1) synthesize_rows<Slope, 1>(table + i, at.lmax, at.pairs, x, circles + i * pair);
}

// d = factor d/dphi of c: i k c_k = k b_k - i (-k a_k).
template <class T, class V>
TELAMON_HD TELAMON_INLINE void differentiate(circle<V> c, circle<V> d, int degree, T factor) noexcept {
  for (int k = 1; k <= degree; ++k) {
    const T scale = factor * T(k);
    d.a[k] = scale * c.b[k], d.b[k] = -(scale * c.a[k]);
  }
}

// ---- convolution of the sum of Terms products, for the orders m, ..., m + Orders - 1 (one or two); each order has
// four sums, enough to keep the multiply-adders busy with two orders.
template <int Orders, class V>
struct order_sums {
  V aa[Orders], bb[Orders], ab[Orders], ba[Orders];

  template <bool Minus>
  TELAMON_HD static TELAMON_INLINE void add(V& sum, V x, V y) noexcept {
    if constexpr (Minus)
      sum -= x * y;
    else
      sum += x * y;
  }
  // += c d, conj(c) d or c conj(d)
  template <bool ConjC, bool ConjD>
  TELAMON_HD TELAMON_INLINE void add(int o, V ca, V cb, V da, V db) noexcept {
    add<false>(aa[o], ca, da);
    add<ConjC == ConjD>(bb[o], cb, db);
    add<ConjD>(ab[o], ca, db);
    add<ConjC>(ba[o], cb, da);
  }
};
// The northern half of a pair is only stored; the southern one leaves their sum there and the difference `south` after
// it. That is decided at run time, since the loops before are long and code for both would not fit the instruction
// cache.
template <class V>
TELAMON_HD TELAMON_INLINE void put(V value, V* h, int south) noexcept {
  if (south > 0) {
    const V north = *h;
    h[south] = north - value;
    value = north + value;
  }
  *h = value;
}

template <int Orders, int Terms, class V>
TELAMON_HD TELAMON_INLINE void convolve_orders(int m, const circle<V> (&c)[Terms], int lc, const circle<V> (&d)[Terms],
                                               int ld, V* h, int south = 0) noexcept {
  order_sums<Orders, V> s;
  TELAMON_UNROLL
  for (int o = 0; o < Orders; ++o) s.aa[o] = s.bb[o] = s.ab[o] = s.ba[o] = V{};
  const int top = m + Orders - 1;
  for (int t = 0; t < Terms; ++t) {
    // c_k d_{m-k}
    int end = lc < top ? lc : top;
    for (int k = m > ld ? m - ld : 0; k <= end; ++k) {
      const V ca = c[t].a[k], cb = c[t].b[k];
      TELAMON_UNROLL
      for (int o = 0; o < Orders; ++o) s.template add<false, false>(o, ca, cb, d[t].a[m + o - k], d[t].b[m + o - k]);
    }
    // conj(c_k) d_{m+k}
    end = lc < ld - m ? lc : ld - m;
    for (int k = 1; k <= end; ++k) {
      const V ca = c[t].a[k], cb = c[t].b[k];
      TELAMON_UNROLL
      for (int o = 0; o < Orders; ++o) s.template add<true, false>(o, ca, cb, d[t].a[m + o + k], d[t].b[m + o + k]);
    }
    // c_{m+k} conj(d_k)
    end = ld < lc - m ? ld : lc - m;
    for (int k = 1; k <= end; ++k) {
      const V da = d[t].a[k], db = d[t].b[k];
      TELAMON_UNROLL
      for (int o = 0; o < Orders; ++o) s.template add<false, true>(o, c[t].a[m + o + k], c[t].b[m + o + k], da, db);
    }
  }
  TELAMON_UNROLL
  for (int o = 0; o < Orders; ++o) {
    put(s.aa[o] + s.bb[o], h + 2 * o, south);
    put(s.ab[o] + s.ba[o], h + 2 * o + 1, south);
  }
}

// h[2m], h[2m+1] = the real part and minus the imaginary part of the product's coefficient, m = 0..lh; h[1] is 0 and
// not written. The southern parallel of a pair is folded with what the northern one has left in h.
template <int Terms, class V>
TELAMON_HD TELAMON_INLINE void convolve(const circle<V> (&c)[Terms], int lc, const circle<V> (&d)[Terms], int ld,
                                        int lh, V* h, bool south = false) noexcept {
  // At m = 0 the terms of k and -k are the same.
  V zero{}, a{}, b{};
  const int end = lc < ld ? lc : ld;
  for (int t = 0; t < Terms; ++t) {
    zero += c[t].a[0] * d[t].a[0];
    for (int k = 1; k <= end; ++k) a += c[t].a[k] * d[t].a[k], b += c[t].b[k] * d[t].b[k];
  }
  const V sum = a + b;
  const int fold = south ? 2 * (lh + 1) : 0;
  put(zero + (sum + sum), h, fold);
  int m = 1;
  for (; m < lh; m += 2) convolve_orders<2>(m, c, lc, d, ld, h + 2 * m, fold);
  if (m == lh) convolve_orders<1>(m, c, lc, d, ld, h + 2 * m, fold);
}

// ---- analysis: z += weights times h for one order m, from the degree l on: Rows of each parity at a time, or, where
// Last, a single one of the even parity
template <int Rows, int Parts, bool Last, class T, class V>
TELAMON_HD TELAMON_INLINE void analyse_rows(const T* table, int pairs, const V* h, int half, int count, V* z) noexcept {
  constexpr int degrees = Last ? 1 : 2 * Rows;
  V s[degrees][Parts];
  TELAMON_UNROLL
  for (int r = 0; r < degrees; ++r) {
    TELAMON_UNROLL
    for (int p = 0; p < Parts; ++p) s[r][p] = z[r * Parts + p];
  }
  for (int i = 0; i < count; ++i) {
    const V* at = h + std::ptrdiff_t(2 * i) * half;
    TELAMON_UNROLL
    for (int r = 0; r < degrees; ++r) {
      TELAMON_UNROLL
      for (int p = 0; p < Parts; ++p) s[r][p] += table[r * pairs + i] * at[(r & 1) * half + p];
    }
  }
  TELAMON_UNROLL
  for (int r = 0; r < degrees; ++r) {
    TELAMON_UNROLL
    for (int p = 0; p < Parts; ++p) z[r * Parts + p] = s[r][p];
  }
}
template <int Parts, class T, class V>
TELAMON_HD TELAMON_INLINE void analyse_order(const T* table, int pairs, const V* h, int half, int count, int degrees,
                                             V* z) noexcept {
  int l = 0;
  for (; l + 4 <= degrees; l += 4) {
    analyse_rows<2, Parts, false>(table + l * pairs, pairs, h, half, count, z + l * Parts);
  }
  if (l + 2 <= degrees) {
    analyse_rows<1, Parts, false>(table + l * pairs, pairs, h, half, count, z + l * Parts);
    l += 2;
  }
  if (l < degrees) analyse_rows<1, Parts, true>(table + l * pairs, pairs, h, half, count, z + l * Parts);
}

// h holds for each pair the sum and the difference of north and south, 2 (lmax + 1) each.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void analyse(const parallels<T>& at, int first, int count, const V* h, V* z) noexcept {
  const int lmax = at.lmax, half = 2 * (lmax + 1);
  const T* table = at.analysis + first;
  analyse_order<1>(table, at.pairs, h, half, count, lmax + 1, z);
  z += lmax + 1;
  for (int m = 1; m <= lmax; ++m) {
    table += std::ptrdiff_t(lmax + 2 - m) * at.pairs;
    analyse_order<2>(table, at.pairs, h + 2 * m, half, count, lmax + 1 - m, z);
    z += 2 * (lmax + 1 - m);
  }
}

// On the equator there is no south: sum and difference are the same, and the difference meets zeros only.
template <class V>
TELAMON_HD TELAMON_INLINE void fold_equator(V* h, int lmax) noexcept {
  V* difference = h + 2 * (lmax + 1);
  for (int i = 0; i < 2 * (lmax + 1); ++i) difference[i] = h[i];
}

// ---- the product of two
template <class T>
struct product_tables {
  parallels<T> x, y, z;  // on the same parallels
};

// What product_tile needs, in units of V.
TELAMON_HD constexpr std::ptrdiff_t product_scratch(kind which, int l1, int l2, int l3,
                                                    int pairs = block_pairs) noexcept {
  const int functions = which == kind::even ? 1 : 2, outputs = which == kind::complete ? 2 : 1;
  const int on_circle = circle_size(l1) + circle_size(l2);
  return 2 * pairs * on_circle * functions + (functions - 1) * on_circle + outputs * pairs * 4 * (l3 + 1);
}

// The circles in the scratch of product_tile, cleared: once for all tiles of the same degrees and kind.
template <class V>
TELAMON_HD TELAMON_INLINE void clear_product(kind which, int l1, int l2, V* scratch, int pairs = block_pairs) noexcept {
  const bool derivatives = which != kind::even;
  for (int functions = 0; functions < (derivatives ? 2 : 1); ++functions) {
    for (int l : {l1, l2}) {
      clear_circles(scratch, l, 2 * pairs);
      scratch += std::ptrdiff_t(2 * pairs) * circle_size(l);
    }
  }
  if (!derivatives) return;
  clear_circles(scratch, l1, 1);
  clear_circles(scratch + circle_size(l1), l2, 1);
}

// z += the even or the odd product or their sum; for kind::complete z += the even and odd += the odd one. Clear says to
// clear the scratch here.
template <kind Which, int Pairs = block_pairs, bool Clear = true, class T, class V>
TELAMON_HD TELAMON_INLINE void product_tile(const product_tables<T>& tables, const V* x, const V* y, V* z, V* odd,
                                            V* scratch) noexcept {
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax, pairs = tables.z.pairs;
  constexpr bool derivatives = Which != kind::even;
  const std::ptrdiff_t size1 = 2 * Pairs * circle_size(l1), size2 = 2 * Pairs * circle_size(l2);
  V *f = scratch, *g = f + size1, *next = g + size2, *f_theta = next, *g_theta = f_theta + size1;
  if (derivatives) next = g_theta + size2;
  V *f_phi = next, *g_phi = f_phi + circle_size(l1);
  if (derivatives) next = g_phi + circle_size(l2);
  const std::ptrdiff_t in_h = 4 * (l3 + 1);
  V *h = next, *h_odd = h + Pairs * in_h;

  if (Clear) clear_product(Which, l1, l2, scratch, Pairs);

  // Loops over the two factors, so that there is one copy of the code they run.
  const parallels<T>* const tables_of[2] = {&tables.x, &tables.y};
  const V* const coefficients[2] = {x, y};
  V *const values[2] = {f, g}, *const slopes[2] = {f_theta, g_theta};

  for (int first = 0; first < pairs; first += Pairs) {
    const int count = pairs - first < Pairs ? pairs - first : Pairs;
    for (int n = 0; n < 2; ++n) synthesize<false, Pairs>(*tables_of[n], first, count, coefficients[n], values[n]);
    if constexpr (derivatives)
      for (int n = 0; n < 2; ++n) synthesize<true, Pairs>(*tables_of[n], first, count, coefficients[n], slopes[n]);
    for (int i = 0; i < count; ++i) {
      const bool equator = tables.z.equator && first + i == pairs - 1;
      for (int side = 0; side < (equator ? 1 : 2); ++side) {
        const int index = 2 * i + side;
        const circle<V> cf = circle_at(f, l1, index), cg = circle_at(g, l2, index);
        if constexpr (Which == kind::even || Which == kind::complete) {
          const circle<V> c[1] = {cf}, d[1] = {cg};
          convolve(c, l1, d, l2, l3, h + i * in_h, side == 1);
        }
        if constexpr (derivatives) {
          const circle<V> cp = circle_at(f_phi, l1, 0), dp = circle_at(g_phi, l2, 0);
          const circle<V> ct = circle_at(f_theta, l1, index), dt = circle_at(g_theta, l2, index);
          const T factor = tables.z.inverse_sine[first + i];
          differentiate(cf, cp, l1, -factor);
          differentiate(cg, dp, l2, factor);
          if constexpr (Which == kind::sum) {
            const circle<V> c[3] = {cf, ct, cp}, d[3] = {cg, dp, dt};
            convolve(c, l1, d, l2, l3, h + i * in_h, side == 1);
          } else {
            const circle<V> c[2] = {ct, cp}, d[2] = {dp, dt};
            convolve(c, l1, d, l2, l3, (Which == kind::odd ? h : h_odd) + i * in_h, side == 1);
          }
        }
      }
      if (equator) fold_equator(h + i * in_h, l3);
      if (Which == kind::complete && equator) fold_equator(h_odd + i * in_h, l3);
    }
    analyse(tables.z, first, count, h, z);
    if constexpr (Which == kind::complete) analyse(tables.z, first, count, h_odd, odd);
  }
}

// ---- products of several
template <class V>
struct monomial_factor {
  const V* x;
  int power;
};

// The degree in phi that matters of a product of degree `done`, of which factors of degrees `left` are still to come.
TELAMON_HD constexpr int needed_degree(int done, int left, int lmax) noexcept {
  return done < lmax + left ? done : lmax + left;
}

TELAMON_HD constexpr std::ptrdiff_t monomial_scratch(int total_degree, int circles, int lmax,
                                                     int pairs = block_pairs) noexcept {
  return std::ptrdiff_t(2) * pairs * circles * circle_size(total_degree) + 3 * circle_size(total_degree) +
         pairs * 4 * (lmax + 1);
}

// z += the product of `n` factors, their tables in at[0, n), of which `out` is for the result. Two factors or more,
// powers counted; `total` is the sum of all degrees.
template <int Pairs = block_pairs, class T, class V>
TELAMON_HD TELAMON_INLINE void monomial_tile(const parallels<T>* at, const monomial_factor<V>* factors, int n,
                                             const parallels<T>& out, int total, V* z, V* scratch) noexcept {
  const int pairs = out.pairs, lmax = out.lmax;
  const std::ptrdiff_t in_h = 4 * (lmax + 1), area = std::ptrdiff_t(2) * Pairs * circle_size(total);
  V *h = scratch + n * area, *product = h + Pairs * in_h, *next = product + circle_size(total);
  for (int k = 0; k < n; ++k) clear_circles(scratch + k * area, at[k].lmax, 2 * Pairs);
  for (int first = 0; first < pairs; first += Pairs) {
    const int count = pairs - first < Pairs ? pairs - first : Pairs;
    for (int k = 0; k < n; ++k) synthesize<false, Pairs>(at[k], first, count, factors[k].x, scratch + k * area);
    for (int i = 0; i < count; ++i) {
      const bool equator = out.equator && first + i == pairs - 1;
      for (int side = 0; side < (equator ? 1 : 2); ++side) {
        int degree = at[0].lmax, left = total - degree;
        circle<V> c[1] = {circle_at(scratch, degree, 2 * i + side)};
        for (int k = 0; k < n; ++k) {
          const circle<V> d[1] = {circle_at(scratch + k * area, at[k].lmax, 2 * i + side)};
          for (int p = k == 0 ? 1 : 0; p < factors[k].power; ++p) {
            left -= at[k].lmax;
            if (k == n - 1 && p == factors[k].power - 1) {
              convolve(c, degree, d, at[k].lmax, lmax, h + i * in_h, side == 1);
              break;
            }
            const int higher = needed_degree(degree + at[k].lmax, left, lmax);
            convolve(c, degree, d, at[k].lmax, higher, next);
            const circle<V> to = circle_at(product, higher, 0);
            to.a[0] = next[0], to.b[0] = V{};
            for (int m = 1; m <= higher; ++m) to.a[m] = next[2 * m], to.b[m] = next[2 * m + 1];
            close_circle(to, higher);
            c[0] = to, degree = higher;
          }
        }
      }
      if (equator) fold_equator(h + i * in_h, lmax);
    }
    analyse(out, first, count, h, z);
  }
}

}  // namespace detail
}  // namespace telamon::so3
