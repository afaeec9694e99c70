// Cross terms of image-text pairs (Eq. 1 to 7, PAPER.md section 8) for one core; docs/engine.md explains the layout.
//
// Every number of a pair is computed in an order that does not depend on which other pairs are asked for, so a score
// has the same bits in whatever block or thread it is made. Lanes: in attention and Gram blocks a vector register holds
// LANES context vectors j; in the gate it holds LANES of the d dimensions.
//
// r rows (vectors) of the longest item, rp = r rounded up to LANES, dp = d rounded up to PANEL, zero-filled. What is as
// wide as d lies in panels of PANEL dimensions, all rows of a panel together: the work goes panel by panel, so memory is
// read in a line.
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
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
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
  int32_t steps, clip, dot, refined, lse, renormalise;
  float inverse_temperature, lse_inverse_temperature;
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
  return (vf)((vi)p + ((vi)shifted << 23));
}

// gram [R, rp] += x [R, PANEL] yt [PANEL, rp], for one register of contexts.
template <int R>
INLINE void gram_rows(const float* x, const float* yt, int64_t rp, float* gram) {
  vf acc[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) acc[i] = load(gram + i * rp);
  for (int c = 0; c < PANEL; ++c) {
    vf y = load(yt + c * rp);
    KEEP(y);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) acc[i] += x[i * PANEL + c] * y;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) store(gram + i * rp, acc[i]);
}

// Calls work<R>(first row) for all rows, in groups of at most N.
template <int N, typename Work>
INLINE void by_rows(int64_t rows, Work work) {
  int64_t i = 0;
  for (; i + N <= rows; i += N) work(std::integral_constant<int, N>(), i);
  if constexpr (N > 8)
    if (i + 8 <= rows) work(std::integral_constant<int, 8>(), i), i += 8;
  if constexpr (N > 4)
    if (i + 4 <= rows) work(std::integral_constant<int, 4>(), i), i += 4;
  if constexpr (N > 2)
    if (i + 2 <= rows) work(std::integral_constant<int, 2>(), i), i += 2;
  if (i < rows) work(std::integral_constant<int, 1>(), i);
}

// gram [rows, rp] += x [rows, PANEL] yt [PANEL, rp]
INLINE void add_gram(const float* x, int64_t rows, const float* yt, int64_t rp, float* gram) {
  for (int64_t v = 0; v < rp; v += LANES)
    by_rows<GRAM_ROWS>(rows, [&](auto count, int64_t i) {
      gram_rows<decltype(count)::value>(x + i * PANEL, yt + v, rp, gram + i * rp + v);
    });
}

// Eq. 1 and 2: alpha [rows, rp], zero where there is no context vector.
static void attend(const float* gram, const float* x_length, int64_t rows, const float* y_length, int64_t count,
                   int64_t rp, const Rule& rule, float* alpha) {
  const float slope = rule.clip == 0 ? 0.0f : rule.clip == 1 ? 0.1f : 1.0f;
  const float sharpness = rule.inverse_temperature * 1.44269504088896f;  // exp(x) is 2^(x log2(e))
  for (int64_t v = 0; v < rp; v += LANES) {
    const vf y_scale = 1.0f / load(y_length + v);
    vf square = splat(0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      vf s = load(gram + i * rp + v);
      if (!rule.dot) s = s * y_scale * (1.0f / x_length[i]);
      s = at_least(s, splat(0.0f)) + slope * at_most(s, splat(0.0f));
      store(alpha + i * rp + v, s);
      square += s * s;
    }
    square = at_least(square, splat(EPS * EPS));
    vf scale;
    for (int l = 0; l < LANES; ++l) scale[l] = std::sqrt(square[l]);
    scale = sharpness / scale;
    for (int64_t i = 0; i < rows; ++i) store(alpha + i * rp + v, load(alpha + i * rp + v) * scale);
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* row = alpha + i * rp;
    float shift = 0;  // what is exponentiated lies within +-sharpness; only where that is too much, take out the highest
    if (sharpness > 60) {
      shift = row[0];
      for (int64_t j = 1; j < count; ++j) shift = row[j] > shift ? row[j] : shift;
    }
    vf total = splat(0.0f);
    for (int64_t v = 0; v < rp; v += LANES) {
      vf e = exp2_of(at_least(load(row + v) - shift, splat(-126.0f)));
      for (int64_t j = count > v ? count - v : 0; j < LANES; ++j) e[j] = 0.0f;
      store(row + v, e);
      total += e;
    }
    const float scale = 1.0f / sum_of(total);
    for (int64_t v = 0; v < rp; v += LANES) store(row + v, load(row + v) * scale);
  }
}

// For R rows: <v_i, a_i>, and |a_i|^2 = alpha_i C alpha_i^T in double: in float it is a difference of large numbers
// where the attended vectors nearly cancel.
template <int R>
INLINE void attended_rows(const float* alpha, const float* operand_gram, const double* gram, int64_t count, int64_t rp,
                          float* inner, double* square) {
  vf products[R] = {};
  for (int i = 0; i < R; ++i) square[i] = 0;
  for (int64_t v = 0; v < rp; v += LANES) {
    vd low[R] = {}, high[R] = {};
    for (int64_t l = 0; l < count; ++l) {
      const vd g0 = *(const vd*)(gram + l * rp + v), g1 = *(const vd*)(gram + l * rp + v + LANES / 2);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        const double weight = alpha[i * rp + l];
        low[i] += weight * g0;
        high[i] += weight * g1;
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const float* row = alpha + i * rp + v;
      vd first, second;
      for (int l = 0; l < LANES / 2; ++l) first[l] = row[l], second[l] = row[l + LANES / 2];
      square[i] += sum_of(low[i] * first + high[i] * second);
      products[i] += load(row) * load(operand_gram + i * rp + v);
    }
  }
  for (int i = 0; i < R; ++i) inner[i] = sum_of(products[i]);
}

// Eq. 6: the cosines of the operands with what they attend to, made one number.
static float cosines(const float* alpha, const float* operand_gram, const float* operand_length, int64_t rows,
                     const double* context_gram, int64_t count, int64_t rp, const Rule& rule, float* cosine,
                     double* square) {
  by_rows<4>(rows, [&](auto group, int64_t i) {
    attended_rows<decltype(group)::value>(alpha + i * rp, operand_gram + i * rp, context_gram, count, rp, cosine + i,
                                          square + i);
  });
  for (int64_t i = 0; i < rows; ++i) {
    const double at_least_eps = square[i] < (double)EPS * EPS ? (double)EPS * EPS : square[i];
    cosine[i] /= operand_length[i] * (float)std::sqrt(at_least_eps);
  }
  float total = 0;
  if (!rule.lse) {
    for (int64_t i = 0; i < rows; ++i) total += cosine[i];
    return total / rows;
  }
  float highest = cosine[0];
  for (int64_t i = 1; i < rows; ++i) highest = cosine[i] > highest ? cosine[i] : highest;
  for (int64_t i = 0; i < rows; ++i) total += std::exp(rule.lse_inverse_temperature * (cosine[i] - highest));
  return highest + std::log(total) / rule.lse_inverse_temperature;
}

// Eq. 3 for R rows and PANEL dimensions: sigmoid(g) * x + (1 - sigmoid(g)) * tanh(o), with two exponentials and one
// division. Beyond +-30 both functions are flat to float's precision.
template <int R>
INLINE void refine_rows(const float* weights, int64_t rows, int64_t count, const float* ch, const float* qh,
                        const float* x, float* out, vf* squares) {
  vf g[R][2], o[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < 2; ++v) {
      g[i][v] = load(qh + i * 2 * PANEL + v * LANES);
      o[i][v] = load(qh + i * 2 * PANEL + PANEL + v * LANES);
    }
  for (int64_t j = 0; j < count; ++j) {
    const float* h = ch + j * 2 * PANEL;
    vf g0 = load(h), g1 = load(h + LANES), o0 = load(h + PANEL), o1 = load(h + PANEL + LANES);
    KEEP(g0);
    KEEP(g1);
    KEEP(o0);
    KEEP(o1);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      vf weight = splat(weights[j * rows + i]);
      KEEP(weight);
      g[i][0] += weight * g0;
      g[i][1] += weight * g1;
      o[i][0] += weight * o0;
      o[i][1] += weight * o1;
    }
  }
  const vf limit = splat(43.2808512f);  // 30 * log2(e)
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < 2; ++v) {
      const vf eg = exp2_of(at_most(at_least(g[i][v] * -1.44269504088896f, -limit), limit));
      const vf eo = exp2_of(at_most(at_least(o[i][v] * -2.88539008177793f, -limit), limit));
      const vf old = load(x + i * PANEL + v * LANES);
      const vf fresh = (old * (1.0f + eo) + eg * (1.0f - eo)) / ((1.0f + eg) * (1.0f + eo));
      store(out + i * PANEL + v * LANES, fresh);
      squares[i] += fresh * fresh;
    }
}

// A query as it stands: vectors and the gate's half of them, in panels that are `rows` vectors high.
struct Query {
  const float *x, *half;
  int64_t rows;
};

// One query refined against one context: its lengths, its inner products with the context and, where `kept` is given,
// itself in panels of `kept_rows` vectors (at K >= 3).
static void refine(const float* alpha, int64_t rows, const Side& context, int64_t item, const Query& query,
                   const Rule& rule, float* kept, int64_t kept_rows, float* weights, float* panel, vf* squares,
                   float* length, float* gram) {
  const int64_t rp = context.rp, count = context.count[item];
  const float* ch = context.ch + item * context.r * 2 * rule.dp;
  const float* yt = context.yt + item * rule.dp * rp;
  for (int64_t i = 0; i < rows; ++i) squares[i] = splat(0.0f);
  for (int64_t j = 0; j < count; ++j)
    for (int64_t i = 0; i < rows; ++i) weights[j * rows + i] = alpha[i * rp + j];
  std::memset(gram, 0, rows * rp * sizeof(float));
  for (int64_t p = 0; p < rule.dp / PANEL; ++p) {
    float* out = kept ? kept + p * kept_rows * PANEL : panel;
    by_rows<GATE_ROWS>(rows, [&](auto group, int64_t i) {
      refine_rows<decltype(group)::value>(weights + i, rows, count, ch + p * context.r * 2 * PANEL,
                                          query.half + (p * query.rows + i) * 2 * PANEL,
                                          query.x + (p * query.rows + i) * PANEL, out + i * PANEL, squares + i);
    });
    add_gram(out, rows, yt + p * PANEL * rp, rp, gram);
  }
  for (int64_t i = 0; i < rows; ++i) length[i] = std::sqrt(std::fmax(sum_of(squares[i]), EPS * EPS));
  if (!rule.renormalise) return;
  for (int64_t i = 0; i < rows; ++i) {  // x / |x|: its length is then |x| / max(|x|, eps)
    const vf scale = splat(1.0f / length[i]);
    for (int64_t v = 0; v < rp; v += LANES) store(gram + i * rp + v, load(gram + i * rp + v) * scale);
    for (int64_t p = 0; kept && p < rule.dp / PANEL; ++p)
      for (int v = 0; v < PANEL; v += LANES) {
        float* at = kept + (p * kept_rows + i) * PANEL + v;
        store(at, load(at) * scale);
      }
    length[i] = std::fmax(std::sqrt(sum_of(squares[i])) / length[i], EPS);
  }
}

template <int R>
INLINE void project_rows(const float* x, int64_t rows, const float* weight, const float* bias, int64_t dp, float* out) {
  vf low[R], high[R];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    low[i] = load(bias);
    high[i] = load(bias + LANES);
  }
  for (int64_t p = 0; p < dp / PANEL; ++p)
    for (int c = 0; c < PANEL; ++c) {
      vf w0 = load(weight + (p * PANEL + c) * PANEL), w1 = load(weight + (p * PANEL + c) * PANEL + LANES);
      KEEP(w0);
      KEEP(w1);
#pragma GCC unroll 8
      for (int i = 0; i < R; ++i) {
        vf value = splat(x[(p * rows + i) * PANEL + c]);
        KEEP(value);
        low[i] += value * w0;
        high[i] += value * w1;
      }
    }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    store(out + i * 2 * PANEL, low[i]);
    store(out + i * 2 * PANEL + LANES, high[i]);
  }
}

// The gate's query half of refined queries [dp / PANEL, rows, PANEL]: the only d x d product per pair, at K >= 3.
static void project(const float* x, int64_t rows, const Way& way, int64_t dp, float* out) {
  for (int64_t p = 0; p < 2 * dp / PANEL; ++p)
    by_rows<GEMM_ROWS>(rows, [&](auto group, int64_t i) {
      project_rows<decltype(group)::value>(x + i * PANEL, rows, way.weight + p * dp * PANEL, way.bias + p * PANEL, dp,
                                           out + (p / 2 * rows + i) * 2 * PANEL + p % 2 * PANEL);
    });
}

// What a thread works with. `width` is the larger rp of both sides, as rows or as lanes.
struct Scratch {
  float *first, *gram, *alpha, *weights, *length, *cosine, *panel, *squares, *kept, *half;
  double* square;
};

INLINE float* take(char*& at, int64_t floats) {
  float* here = (float*)at;
  at += (floats * 4 + 127) / 64 * 64;
  return here;
}

static int64_t scratch_bytes(int64_t width, const Rule& rule) {
  const int64_t kept = rule.steps > 2 ? TILE * width * 3 * rule.dp : 0;
  return 4 * (TILE * width * (2 * width + 1) + 2 * width * width + 3 * width + width * PANEL + width * LANES + kept) + 128 * 16;
}

// One direction of up to TILE pairs: adds the cosine terms of all K steps to total[t]. Pair t is query (or the only
// query) against context t (or the only context); scratch.first[t] holds its Gram block [rows, rp].
static void add_cosines(const Side& query, const int64_t* q, const Side& context, const int64_t* c, int64_t pairs,
                        const Way& way, const Rule& rule, int64_t width, const Scratch& at, float* total) {
  const int64_t rp = context.rp, block = width * width, dp = rule.dp;
  int64_t first_row[TILE + 1] = {0};
  for (int64_t t = 0; t < pairs; ++t) first_row[t + 1] = first_row[t] + query.count[q[t]];
  for (int64_t step = 1; step <= rule.steps; ++step) {
    for (int64_t t = 0; t < pairs; ++t) {
      const int64_t rows = query.count[q[t]], count = context.count[c[t]];
      const float* own_length = query.length + q[t] * query.rp;
      const float* first = at.first + t * block;
      float* length = at.length + t * width;
      float* later = at.gram + t * block;
      const float* now = step == 1 ? first : later;
      const float* now_length = step == 1 ? own_length : length;
      attend(now, now_length, rows, context.length + c[t] * rp, count, rp, rule, at.alpha);
      const bool refined = rule.refined && step > 1;
      total[t] += cosines(at.alpha, refined ? now : first, refined ? now_length : own_length, rows,
                          context.gram + c[t] * context.r * rp, count, rp, rule, at.cosine, at.square);
      if (step == rule.steps) continue;
      const Query own = {query.x + q[t] * query.r * dp, query.qh + q[t] * query.r * 2 * dp, query.r};
      const Query refined_before = {at.kept + first_row[t] * PANEL, at.half + first_row[t] * 2 * PANEL, first_row[pairs]};
      float* kept = step + 1 < rule.steps ? at.kept + first_row[t] * PANEL : nullptr;
      refine(at.alpha, rows, context, c[t], step == 1 ? own : refined_before, rule, kept, first_row[pairs], at.weights,
             at.panel, (vf*)at.squares, length, later);
    }
    if (step + 1 < rule.steps) project(at.kept, first_row[pairs], way, dp, at.half);
  }
}

static void transpose(const float* from, int64_t rows, int64_t columns, int64_t ld_from, float* to, int64_t ld_to) {
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < ld_to; ++i) to[j * ld_to + i] = i < rows ? from[i * ld_from + j] : 0.0f;
}

extern "C" int lile_lanes(void) { return LANES; }

// out [images, texts] (row stride ld_out) for images [row0, row1) and texts [column0, column1).
// Returns 0, or 1 where memory for the scratch is missing.
extern "C" int lile_cross(const Side* images, const Side* texts, const Way* image_way, const Way* text_way,
                          const Rule* rule, int64_t row0, int64_t row1, int64_t column0, int64_t column1, float* out,
                          int64_t ld_out) {
  const int64_t width = images->rp > texts->rp ? images->rp : texts->rp, block = width * width;
  const int64_t bytes = (scratch_bytes(width, *rule) + 63) / 64 * 64;
  char* memory = (char*)std::aligned_alloc(64, bytes);
  if (!memory) return 1;
  char* next = memory;
  Scratch at;
  at.first = take(next, TILE * block);
  at.gram = take(next, TILE * block);
  at.alpha = take(next, block);
  at.weights = take(next, block);
  at.length = take(next, TILE * width);
  at.cosine = take(next, width);
  at.panel = take(next, width * PANEL);
  at.square = (double*)take(next, 2 * width);
  at.squares = take(next, width * LANES);
  at.kept = rule->steps > 2 ? take(next, TILE * width * rule->dp) : nullptr;
  at.half = rule->steps > 2 ? take(next, TILE * width * 2 * rule->dp) : nullptr;
  for (int64_t row = row0; row < row1; ++row)
    for (int64_t column = column0; column < column1; column += TILE) {
      const int64_t pairs = column1 - column < TILE ? column1 - column : TILE;
      int64_t image[TILE], text[TILE];
      float total[TILE] = {0};
      for (int64_t t = 0; t < pairs; ++t) {
        image[t] = row;
        text[t] = column + t;
        float* gram = at.first + t * block;
        std::memset(gram, 0, images->count[row] * texts->rp * sizeof(float));
        for (int64_t p = 0; p < rule->dp / PANEL; ++p)
          add_gram(images->x + (row * rule->dp / PANEL + p) * images->r * PANEL, images->count[row],
                   texts->yt + (text[t] * rule->dp + p * PANEL) * texts->rp, texts->rp, gram);
      }
      if (image_way->asks) add_cosines(*images, image, *texts, text, pairs, *image_way, *rule, width, at, total);
      if (text_way->asks) {
        for (int64_t t = 0; t < pairs; ++t) {  // the Gram block is shared: the other direction reads it transposed
          transpose(at.first + t * block, images->count[row], texts->count[text[t]], texts->rp, at.gram, images->rp);
          std::memcpy(at.first + t * block, at.gram, texts->count[text[t]] * images->rp * sizeof(float));
        }
        add_cosines(*texts, text, *images, image, pairs, *text_way, *rule, width, at, total);
      }
      for (int64_t t = 0; t < pairs; ++t) out[row * ld_out + column + t] = total[t];
    }
  std::free(memory);
  return 0;
}
