// The gradient of one pair's cross terms (K = 1 and 2): what native_steps.h does, backwards. Nothing is kept from the
// forward pass. Names: d_x is the gradient of the loss by x; functions add to it.
#pragma once
#include <initializer_list>

#include "native_steps.h"

extern "C" {
struct SideGradient {  // laid out as Side
  float *x, *qh, *ch, *length;
  double* gram;
};
}

// to [count, V registers] += sum over i of weight[i, j] * from [rows, V registers]
template <int V, int R>
INLINE void add_weighted_rows(const float* weight, int64_t step_i, int64_t step_j, int64_t rows, const float* from,
                              float* to) {
  vf acc[R][V];
#pragma GCC unroll 8
  for (int j = 0; j < R; ++j)
    for (int v = 0; v < V; ++v) acc[j][v] = load(to + (j * V + v) * LANES);
  for (int64_t i = 0; i < rows; ++i) {
    vf source[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      source[v] = load(from + (i * V + v) * LANES);
      KEEP(source[v]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < R; ++j) {
      const float w = weight[i * step_i + j * step_j];
      for (int v = 0; v < V; ++v) acc[j][v] += w * source[v];
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < R; ++j)
    for (int v = 0; v < V; ++v) store(to + (j * V + v) * LANES, acc[j][v]);
}

template <int V>
INLINE void add_weighted(const float* weight, int64_t step_i, int64_t step_j, int64_t rows, const float* from,
                         int64_t count, float* to) {
  by_rows<GATE_ROWS>(count, [&](auto group, int64_t j) {
    add_weighted_rows<V, decltype(group)::value>(weight + j * step_j, step_i, step_j, rows, from, to + j * V * LANES);
  });
}

// dots [rows, count] of registers += lane-wise products of a [rows, 4 registers] and b [count, 4 registers]
static void add_dots(const float* a, int64_t rows, const float* b, int64_t count, vf* dots) {
  by_rows<GATE_ROWS>(rows, [&](auto group_i, int64_t i) {
    by_rows<GATE_ROWS>(count, [&](auto group_j, int64_t j) {
      constexpr int RI = decltype(group_i)::value, RJ = decltype(group_j)::value;
      vf acc[RI][RJ];
#pragma GCC unroll 4
      for (int k = 0; k < RI; ++k)
        for (int l = 0; l < RJ; ++l) acc[k][l] = dots[(i + k) * count + j + l];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        vf other[RJ];
        for (int l = 0; l < RJ; ++l) other[l] = load(b + ((j + l) * 4 + v) * LANES);
        for (int k = 0; k < RI; ++k) {
          vf one = load(a + ((i + k) * 4 + v) * LANES);
          for (int l = 0; l < RJ; ++l) acc[k][l] += one * other[l];
        }
      }
#pragma GCC unroll 4
      for (int k = 0; k < RI; ++k)
        for (int l = 0; l < RJ; ++l) dots[(i + k) * count + j + l] = acc[k][l];
    });
  });
}

// Eq. 1 and 2 backwards. d_alpha [rows, rp] is used up. In double: a column's gradient is what is left of it after the
// part along the column is taken out, which for few query vectors is next to nothing.
static void attend_back(const float* gram, const float* x_length, int64_t rows, const float* y_length, int64_t rp,
                        const Rule& rule, const float* alpha, float* d_alpha, float* d_gram, float* d_x_length,
                        float* d_y_length) {
  const double slope = rule.slope;
  for (int64_t i = 0; i < rows; ++i) {
    vf along = splat(0.0f);
    for (int64_t v = 0; v < rp; v += LANES) along += load(alpha + i * rp + v) * load(d_alpha + i * rp + v);
    const float mean = sum_of(along);
    for (int64_t v = 0; v < rp; v += LANES) {
      float* at = d_alpha + i * rp + v;
      store(at, rule.inverse_temperature * load(alpha + i * rp + v) * (load(at) - mean));
    }
  }
  for (int64_t v = 0; v < rp; v += LANES) {
    double y_scale[LANES], square[LANES], along[LANES], d_y[LANES];
    for (int l = 0; l < LANES; ++l) {
      y_scale[l] = rule.dot ? 1.0 : 1.0 / y_length[v + l];
      square[l] = along[l] = d_y[l] = 0;
    }
    for (int64_t i = 0; i < rows; ++i) {
      const double x_scale = rule.dot ? 1.0 : 1.0 / x_length[i];
      for (int l = 0; l < LANES; ++l) {
        const double s = gram[i * rp + v + l] * x_scale * y_scale[l], kept = s > 0 ? s : s * slope;
        square[l] += kept * kept;
        along[l] += d_alpha[i * rp + v + l] * kept;
      }
    }
    for (int l = 0; l < LANES; ++l) {
      const double eps = (double)EPS * EPS;
      along[l] = square[l] > eps ? along[l] / square[l] : 0;
      square[l] = 1 / std::sqrt(square[l] > eps ? square[l] : eps);
    }
    for (int64_t i = 0; i < rows; ++i) {
      const double x_scale = rule.dot ? 1.0 : 1.0 / x_length[i];
      double d_x = 0;
      for (int l = 0; l < LANES; ++l) {
        const double s = gram[i * rp + v + l] * x_scale * y_scale[l], kept = s > 0 ? s : s * slope;
        const double d_kept = square[l] * (d_alpha[i * rp + v + l] - kept * along[l]);
        const double d_s = s > 0 ? d_kept : d_kept * slope;
        d_gram[i * rp + v + l] += d_s * y_scale[l] * x_scale;
        d_x += d_s * s;
        d_y[l] += d_s * s;
      }
      if (!rule.dot) d_x_length[i] -= d_x * x_scale;
    }
    if (!rule.dot)
      for (int l = 0; l < LANES; ++l) d_y_length[v + l] -= d_y[l] * y_scale[l];
  }
}

// Eq. 6 backwards: `weight` is the gradient by the aggregated cosines.
static void cosines_back(float weight, const float* alpha, const float* operand_gram, const float* operand_length,
                         int64_t rows, const double* context_gram, int64_t count, int64_t rp, const Rule& rule,
                         float* cosine, double* square, float* d_alpha, float* d_operand_gram,
                         float* d_operand_length, double* d_context_gram) {
  const float whole = cosines(alpha, operand_gram, operand_length, rows, context_gram, count, rp, rule, cosine, square);
  const double eps = (double)EPS * EPS;
  for (int64_t i = 0; i < rows; ++i) {
    const float share = rule.lse ? std::exp(rule.lse_inverse_temperature * (cosine[i] - whole)) : 1.0f / rows;
    const float d_cosine = weight * share;
    const double length = std::sqrt(square[i] < eps ? eps : square[i]);
    const float d_inner = d_cosine / (operand_length[i] * (float)length);
    const double d_square = square[i] > eps ? -(double)d_cosine * cosine[i] / (2 * length * length) : 0;
    d_operand_length[i] -= d_cosine * cosine[i] / operand_length[i];
    const float* row = alpha + i * rp;
    for (int64_t v = 0; v < rp; v += LANES) {
      vf both = splat(0.0f);  // C alpha_i
      for (int64_t l = 0; l < count; ++l)
        for (int k = 0; k < LANES; ++k) both[k] += (float)(row[l] * context_gram[l * rp + v + k]);
      store(d_alpha + i * rp + v, load(d_alpha + i * rp + v) + d_inner * load(operand_gram + i * rp + v) +
                                      (float)(2 * d_square) * both);
      store(d_operand_gram + i * rp + v, load(d_operand_gram + i * rp + v) + d_inner * load(row + v));
    }
    for (int64_t l = 0; l < count; ++l) {
      const double d = d_square * row[l];
      for (int64_t j = 0; j < count; ++j) d_context_gram[l * rp + j] += d * row[j];
    }
  }
}

// Eq. 3 backwards for R rows of a panel. push [rows, rp] and pull [rows] give the gradient by the refined query:
// sum_j push_ij y_j + pull_i x_i.
template <int R>
INLINE void refine_rows_back(const float* weights, int64_t rows, int64_t count, const float* ch, const float* qh,
                             const float* x, const float* y, const float* push, int64_t rp, const float* pull,
                             float* fresh, float* d_half, float* d_qh, float* d_x) {
  vf g[R][2], o[R][2];
  gate_rows<R>(weights, rows, count, ch, qh, g, o);
  vf sigmoid[R][2], rest[R][2], tangent[R][2], d[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < 2; ++v) {
      const vf eg = exponential(g[i][v], -1.44269504088896f), eo = exponential(o[i][v], -2.88539008177793f);
      sigmoid[i][v] = 1.0f / (1.0f + eg);
      rest[i][v] = eg * sigmoid[i][v];
      tangent[i][v] = (1.0f - eo) / (1.0f + eo);
      const vf old = load(x + i * PANEL + v * LANES);
      const vf now = sigmoid[i][v] * old + rest[i][v] * tangent[i][v];
      store(fresh + i * PANEL + v * LANES, now);
      d[i][v] = pull[i] * now;
    }
  for (int64_t j = 0; j < count; ++j) {
    const vf y0 = load(y + j * PANEL), y1 = load(y + j * PANEL + LANES);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      d[i][0] += push[i * rp + j] * y0;
      d[i][1] += push[i * rp + j] * y1;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
    for (int v = 0; v < 2; ++v) {
      const vf old = load(x + i * PANEL + v * LANES);
      const vf d_gate = d[i][v] * (old - tangent[i][v]) * sigmoid[i][v] * rest[i][v];
      const vf d_update = d[i][v] * rest[i][v] * (1.0f - tangent[i][v] * tangent[i][v]);
      float* gate = d_half + i * 2 * PANEL + v * LANES;
      float* own = d_qh + i * 2 * PANEL + v * LANES;
      store(gate, d_gate);
      store(gate + PANEL, d_update);
      store(own, load(own) + d_gate);
      store(own + PANEL, load(own + PANEL) + d_update);
      float* vector = d_x + i * PANEL + v * LANES;
      store(vector, load(vector) + d[i][v] * sigmoid[i][v]);
    }
}

// Where a thread keeps what it needs of a pair; blocks are [width, width] with rows of the context's rp.
struct Back {
  float *first, *d_first, *turned, *d_turned, *alpha, *d_alpha, *later, *d_later, *later_alpha, *d_later_alpha, *weights;
  float *length, *d_length, *pull, *cosine, *panel, *half, *squares, *dots;
  double* square;
};

// The gate backwards: d_later [rows, rp] and d_length become gradients of the items and of alpha.
static void refine_back(const Side& query, int64_t q, const Side& context, int64_t c, const Rule& rule,
                        const SideGradient& d_query, const SideGradient& d_context, const Back& at) {
  const int64_t rows = query.count[q], count = context.count[c], rp = context.rp, dp = rule.dp;
  for (int64_t i = 0; i < rows; ++i) {
    const float raw = std::sqrt(sum_of(((vf*)at.squares)[i])), length = std::fmax(raw, EPS);
    at.pull[i] = raw > EPS ? at.d_length[i] / at.length[i] : 0.0f;
    if (!rule.renormalise) continue;
    float along = at.d_length[i] * at.length[i];
    for (int64_t j = 0; j < count; ++j) along += at.d_later[i * rp + j] * at.later[i * rp + j];
    // shorter than what counts as zero, it is divided by EPS, which has no gradient; its length then is below 1 and has
    const float by_length = at.length[i] > EPS ? at.d_length[i] / at.length[i] : 0.0f;
    at.pull[i] = (by_length - (raw > EPS ? along : 0.0f)) / (length * length);
    for (int64_t j = 0; j < count; ++j) at.d_later[i * rp + j] /= length;
  }
  vf* dots = (vf*)at.dots;
  std::memset((void*)dots, 0, rows * count * sizeof(vf));
  for (int64_t p = 0; p < dp / PANEL; ++p) {
    const int64_t q_row = (q * dp / PANEL + p) * query.r, c_row = (c * dp / PANEL + p) * context.r;
    const float* ch = context.ch + c_row * 2 * PANEL;
    by_rows<GATE_ROWS>(rows, [&](auto group, int64_t i) {
      refine_rows_back<decltype(group)::value>(
          at.weights + i, rows, count, ch, query.qh + (q_row + i) * 2 * PANEL, query.x + (q_row + i) * PANEL,
          context.x + c_row * PANEL, at.d_later + i * rp, rp, at.pull + i, at.panel + i * PANEL,
          at.half + i * 2 * PANEL, d_query.qh + (q_row + i) * 2 * PANEL, d_query.x + (q_row + i) * PANEL);
    });
    add_weighted<4>(at.alpha, rp, 1, rows, at.half, count, d_context.ch + c_row * 2 * PANEL);
    add_weighted<2>(at.d_later, rp, 1, rows, at.panel, count, d_context.x + c_row * PANEL);
    add_dots(at.half, rows, ch, count, dots);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < count; ++j) at.d_alpha[i * rp + j] += sum_of(dots[i * count + j]);
}

// One direction of a pair: from its Gram block to gradients of both items; d_gram [rows, rp] takes the block's own.
static void way_back(float weight, const Side& query, int64_t q, const Side& context, int64_t c, const Rule& rule,
                     const SideGradient& d_query, const SideGradient& d_context, const float* gram, float* d_gram,
                     const Back& at) {
  const int64_t rows = query.count[q], count = context.count[c], rp = context.rp, dp = rule.dp;
  const float *x_length = query.length + q * query.rp, *y_length = context.length + c * rp;
  float *d_x_length = d_query.length + q * query.rp, *d_y_length = d_context.length + c * rp;
  const double* own_gram = context.gram + c * context.r * rp;
  double* d_own_gram = d_context.gram + c * context.r * rp;
  const int64_t block = rows * rp * sizeof(float);
  attend(gram, x_length, rows, y_length, count, rp, rule, at.alpha);
  std::memset(at.d_alpha, 0, block);
  cosines_back(weight, at.alpha, gram, x_length, rows, own_gram, count, rp, rule, at.cosine, at.square, at.d_alpha,
               d_gram, d_x_length, d_own_gram);
  if (rule.steps > 1) {
    const Query own = {query.x + q * query.r * dp, query.qh + q * query.r * 2 * dp, query.r};
    refine(at.alpha, rows, context, c, own, rule, nullptr, 0, at.weights, at.panel, (vf*)at.squares, at.length,
           at.later);
    attend(at.later, at.length, rows, y_length, count, rp, rule, at.later_alpha);
    std::memset(at.d_later_alpha, 0, block);
    std::memset(at.d_later, 0, block);
    std::memset(at.d_length, 0, rows * sizeof(float));
    cosines_back(weight, at.later_alpha, rule.refined ? at.later : gram, rule.refined ? at.length : x_length, rows,
                 own_gram, count, rp, rule, at.cosine, at.square, at.d_later_alpha, rule.refined ? at.d_later : d_gram,
                 rule.refined ? at.d_length : d_x_length, d_own_gram);
    attend_back(at.later, at.length, rows, y_length, rp, rule, at.later_alpha, at.d_later_alpha, at.d_later, at.d_length,
                d_y_length);
    refine_back(query, q, context, c, rule, d_query, d_context, at);
  }
  attend_back(gram, x_length, rows, y_length, rp, rule, at.alpha, at.d_alpha, d_gram, d_x_length, d_y_length);
}

// The Gram block x y^T backwards, for the panels of both items.
static void gram_back(const Side& images, int64_t i, const Side& texts, int64_t t, const Rule& rule,
                      const float* d_gram, const SideGradient& d_images, const SideGradient& d_texts) {
  const int64_t rows = images.count[i], count = texts.count[t], rp = texts.rp;
  for (int64_t p = 0; p < rule.dp / PANEL; ++p) {
    const int64_t at_i = (i * rule.dp / PANEL + p) * images.r * PANEL, at_t = (t * rule.dp / PANEL + p) * texts.r * PANEL;
    add_weighted<2>(d_gram, rp, 1, rows, images.x + at_i, count, d_texts.x + at_t);
    add_weighted<2>(d_gram, 1, rp, count, texts.x + at_t, rows, d_images.x + at_i);
  }
}

// Gradients of sum(weight * cross terms) for images [row0, row1) and texts [column0, column1); pairs of weight zero are
// passed over. weight is [images, texts] with row stride ld. Returns 0, or 1 where memory is missing.
extern "C" int lile_cross_gradient(const Side* images, const Side* texts, const Way* image_way, const Way* text_way,
                                   const Rule* rule, int64_t row0, int64_t row1, int64_t column0, int64_t column1,
                                   const float* weight, int64_t ld, const SideGradient* d_images,
                                   const SideGradient* d_texts) {
  const int64_t width = images->rp > texts->rp ? images->rp : texts->rp, block = width * width;
  Arena arena(11 * block + 8 * width + width * (3 * PANEL + LANES) + block * LANES);
  if (!arena.memory) return 1;
  Back at;
  for (float** piece : {&at.first, &at.d_first, &at.turned, &at.d_turned, &at.alpha, &at.d_alpha, &at.later,
                        &at.d_later, &at.later_alpha, &at.d_later_alpha, &at.weights})
    *piece = arena.floats(block);
  for (float** piece : {&at.length, &at.d_length, &at.pull, &at.cosine}) *piece = arena.floats(width);
  at.square = (double*)arena.floats(2 * width);
  at.panel = arena.floats(width * PANEL);
  at.half = arena.floats(2 * width * PANEL);
  at.squares = arena.floats(width * LANES);
  at.dots = arena.floats(block * LANES);
  for (int64_t i = row0; i < row1; ++i)
    for (int64_t t = column0; t < column1; ++t) {
      if (weight[i * ld + t] == 0) continue;
      const int64_t rows = images->count[i], count = texts->count[t];
      first_gram(*images, i, *texts, t, *rule, at.first);
      std::memset(at.d_first, 0, rows * texts->rp * sizeof(float));
      if (image_way->asks)
        way_back(weight[i * ld + t], *images, i, *texts, t, *rule, *d_images, *d_texts, at.first, at.d_first, at);
      if (text_way->asks) {
        transpose(at.first, rows, count, texts->rp, at.turned, images->rp);
        std::memset(at.d_turned, 0, count * images->rp * sizeof(float));
        way_back(weight[i * ld + t], *texts, t, *images, i, *rule, *d_texts, *d_images, at.turned, at.d_turned, at);
        for (int64_t j = 0; j < count; ++j)
          for (int64_t k = 0; k < rows; ++k) at.d_first[k * texts->rp + j] += at.d_turned[j * images->rp + k];
      }
      gram_back(*images, i, *texts, t, *rule, at.d_first, *d_images, *d_texts);
    }
  return 0;
}
