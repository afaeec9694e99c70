// The steps of one direction of one pair: Gram block, attention (Eq. 1, 2), cosines (Eq. 6), gate (Eq. 3, 4).
#pragma once
#include "native_math.h"

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

// The Gram block [rows, rp] of an image and a text.
static void first_gram(const Side& images, int64_t i, const Side& texts, int64_t t, const Rule& rule, float* gram) {
  std::memset(gram, 0, images.count[i] * texts.rp * sizeof(float));
  for (int64_t p = 0; p < rule.dp / PANEL; ++p)
    add_gram(images.x + (i * rule.dp / PANEL + p) * images.r * PANEL, images.count[i],
             texts.yt + (t * rule.dp + p * PANEL) * texts.rp, texts.rp, gram);
}

// The same block for the other direction: to [columns, ld_to], zero after the rows.
static void transpose(const float* from, int64_t rows, int64_t columns, int64_t ld_from, float* to, int64_t ld_to) {
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < ld_to; ++i) to[j * ld_to + i] = i < rows ? from[i * ld_from + j] : 0.0f;
}

// Eq. 1 and 2: alpha [rows, rp], zero where there is no context vector.
static void attend(const float* gram, const float* x_length, int64_t rows, const float* y_length, int64_t count,
                   int64_t rp, const Rule& rule, float* alpha) {
  const float sharpness = rule.inverse_temperature * 1.44269504088896f;  // exp(x) is 2^(x log2(e))
  for (int64_t v = 0; v < rp; v += LANES) {
    const vf y_scale = 1.0f / load(y_length + v);
    vf square = splat(0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      vf s = load(gram + i * rp + v);
      if (!rule.dot) s = s * y_scale * (1.0f / x_length[i]);
      s = at_least(s, splat(0.0f)) + rule.slope * at_most(s, splat(0.0f));
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

// e^-x of the gate's numbers as 2^(x * scale). Beyond +-30 sigmoid and tanh are flat to float's precision.
INLINE vf exponential(vf x, float scale) {
  const vf limit = splat(43.2808512f);  // 30 * log2(e)
  return exp2_of(at_most(at_least(x * scale, -limit), limit));
}

// Eq. 3 before its functions, for R rows and PANEL dimensions: gate and update from the query's and the context's halves.
// weights is alpha turned: [count, rows].
template <int R>
INLINE void gate_rows(const float* weights, int64_t rows, int64_t count, const float* ch, const float* qh, vf (&g)[R][2],
                      vf (&o)[R][2]) {
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
}

// Eq. 3: sigmoid(g) * x + (1 - sigmoid(g)) * tanh(o), with two exponentials and one division.
template <int R>
INLINE void refine_rows(const float* weights, int64_t rows, int64_t count, const float* ch, const float* qh,
                        const float* x, float* out, vf* squares) {
  vf g[R][2], o[R][2];
  gate_rows<R>(weights, rows, count, ch, qh, g, o);
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < 2; ++v) {
      const vf eg = exponential(g[i][v], -1.44269504088896f), eo = exponential(o[i][v], -2.88539008177793f);
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
