// The even product on parallels once more, with degrees that the compiler knows: it unrolls what is short. That pays up
// to degree 8, below which straight code is faster still.
#include "multiversion.hpp"
#include "so3_ways.hpp"

namespace telamon::so3 {
namespace {

using namespace tiles;

template <int L, class T>
TELAMON_INLINE detail::parallels<T> fixed(detail::parallels<T> at) {
  constexpr int nodes = nodes_for(3 * L);
  at.lmax = L, at.pairs = (nodes + 1) / 2, at.equator = nodes % 2 != 0;
  return at;
}

TELAMON_MULTIVERSION_TEMPLATE(fixed_tiles, (class T, int L),
                              (const product_plan<T>& plan, const detail::product_tables<T>& tables, vector<T>* memory,
                               std::size_t begin, std::size_t end),
                              {
                                detail::clear_product(kind::even, L, L, memory + plan.tile_size());
                                const detail::product_tables<T> known{fixed<L>(tables.x), fixed<L>(tables.y),
                                                                      fixed<L>(tables.z)};
                                on_tiles<false>(plan, memory, begin, end,
                                                [&](const vector<T>* x, const vector<T>* y, vector<T>* z,
                                                    vector<T>* odd, vector<T>* rest) TELAMON_INLINE_LAMBDA {
                                                  for (int i = 0; i < components(L); ++i) z[i] = vector<T>{};
                                                  detail::product_tile<kind::even, detail::block_pairs, false>(
                                                      known, x, y, z, odd, rest);
                                                });
                              })

template <int L, class T>
bool run(const product_plan<T>& plan, const detail::product_tables<T>& tables) {
  share_tiles(plan, std::size_t(detail::product_scratch(kind::even, L, L, L)), 12.0 * L * L * L,
              [&](vector<T>* memory, std::size_t begin, std::size_t end) {
                fixed_tiles<T, L>::run(plan, tables, memory, begin, end);
              });
  return true;
}

}  // namespace

template <class T>
bool run_fixed_grid(const product_plan<T>& plan, const detail::product_tables<T>& tables) {
  const int l = tables.x.lmax;
  if (tables.y.lmax != l || tables.z.lmax != l) return false;
  switch (l) {
    case 5:
      return run<5>(plan, tables);
    case 6:
      return run<6>(plan, tables);
    case 7:
      return run<7>(plan, tables);
    case 8:
      return run<8>(plan, tables);
    default:
      return false;
  }
}
template bool run_fixed_grid(const product_plan<float>&, const detail::product_tables<float>&);
template bool run_fixed_grid(const product_plan<double>&, const detail::product_tables<double>&);

}  // namespace telamon::so3
