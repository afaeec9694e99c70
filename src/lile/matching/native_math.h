// Vector registers, the layout of items, and 2^x. Lanes: in attention and Gram blocks a vector register holds
// LANES context vectors j; in the gate it holds LANES of the d dimensions.
//
// r rows (vectors) of the longest item, rp = r rounded up to LANES, dp = d rounded up to PANEL, zero-filled. What is as
// wide as d lies in panels of PANEL dimensions, all rows of a panel together: the work goes panel by panel, so memory is
// read in a line.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// Floats of a vector register: what the processor has that -march=native names.
#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#if LANES == 16
#define GATE_ROWS 4
#define GEMM_ROWS 8
#define GRAM_ROWS 16
#define KEEP(v) asm("" : "+v"(v))  // in a register: loaded once for all rows
#else
#define GATE_ROWS 2
#define GEMM_ROWS 4
#define GRAM_ROWS 8
#define KEEP(v)
#endif
#define PANEL (2 * LANES)  // dimensions of the gate that are worked on together
#define TILE 4             // texts whose refined queries are projected together at K >= 3
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef double vd __attribute__((vector_size(LANES * 4)));  // half as many doubles

static const float EPS = 1e-8f;

extern "C" {
struct Side {
  const float* x;        // [n, dp / PANEL, r, PANEL] vectors, as queries
  const float* yt;       // [n, dp, rp] the same transposed, as contexts
  const double* gram;    // [n, r, rp] inner products of the item's own vectors
  const float* length;   // [n, rp]; 1 where there is no vector
  const float* qh;       // [n, dp / PANEL, r, 2 PANEL] gate's query half at step 1: PANEL of the gate, PANEL of the update
  const float* ch;       // [n, dp / PANEL, r, 2 PANEL] gate's context half
  const int32_t* count;  // [n] vectors that are there, the first ones
  int64_t r, rp;
};
struct Way {
  int32_t asks;         // whether this direction is there
  const float* weight;  // [dp / PANEL, 2, dp, PANEL] query half of the gate and of the update; only read at K >= 3
  const float* bias;    // [dp / PANEL, 2, PANEL]
};
struct Rule {
  int64_t dp;
  int32_t steps, dot, refined, lse, renormalise;
  float slope, inverse_temperature, lse_inverse_temperature;  // slope: of negative similarities
};
}

INLINE vf splat(float value) { return value - vf{}; }
INLINE vf load(const float* p) { return *(const vf*)p; }
INLINE void store(float* p, vf value) { *(vf*)p = value; }
// Both hand on a `value` that is not a number.
#if LANES == 16
INLINE vf at_least(vf value, vf least) { return _mm512_max_ps(least, value); }
INLINE vf at_most(vf value, vf most) { return _mm512_min_ps(most, value); }
#else
INLINE vf at_least(vf value, vf least) { return value < least ? least : value; }
INLINE vf at_most(vf value, vf most) { return value > most ? most : value; }
#endif
#if LANES == 16
INLINE float sum_of(vf v) { return _mm512_reduce_add_ps(v); }
INLINE double sum_of(vd v) { return _mm512_reduce_add_pd(v); }
#else
template <typename V>
INLINE auto sum_of(V v) {
  auto total = v[0];
  for (unsigned l = 1; l < sizeof(V) / sizeof(total); ++l) total += v[l];
  return total;
}
#endif

// 2^t for |t| <= 126: relative error below 2e-7. The sum with 1.5 * 2^23 rounds t and leaves the integer in its bits.
INLINE vf exp2_of(vf t) {
  const vf shifted = t + 12582912.0f;
  const vf f = t - (shifted - 12582912.0f);
  vf p = splat(1.5353361890379363e-4f);
  p = p * f + 1.339887442241089e-3f;
  p = p * f + 9.618437357817162e-3f;
  p = p * f + 5.550332471099735e-2f;
  p = p * f + 2.40226479136265e-1f;
  p = p * f + 6.931472028550818e-1f;
  p = p * f + 1.0f;
  return (vf)((vu)p + ((vu)shifted << 23));  // beyond the range, as in lanes that are put to zero later, it wraps
}

// A thread's working space: taken once, handed out in pieces that start on a cache line.
struct Arena {
  char *memory, *next;
  explicit Arena(int64_t floats) {
    next = memory = (char*)std::aligned_alloc(64, (floats * 4 / 64 + 64) * 64);  // 64 pieces at most
  }
  ~Arena() { std::free(memory); }
  float* floats(int64_t count) {
    float* here = (float*)next;
    next += (count * 4 + 63) / 64 * 64;
    return here;
  }
};
