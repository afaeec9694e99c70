// Cross terms of image-text pairs (Eq. 1 to 7, PAPER.md section 8) for one core; docs/engine.md explains the layout.
//
// Every number of a pair is computed in an order that does not depend on which other pairs are asked for, so a score
// has the same bits in whatever block or thread it is made.
#include "native_steps.h"
#include "native_gradient.h"

// What a thread works with. `width` is the larger rp of both sides, as rows or as lanes.
struct Scratch {
  float *first, *gram, *alpha, *weights, *length, *cosine, *panel, *squares, *kept, *half;
  double* square;
};

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

extern "C" int lile_lanes(void) { return LANES; }

// out [images, texts] (row stride ld_out) for images [row0, row1) and texts [column0, column1).
// Returns 0, or 1 where memory for the scratch is missing.
extern "C" int lile_cross(const Side* images, const Side* texts, const Way* image_way, const Way* text_way,
                          const Rule* rule, int64_t row0, int64_t row1, int64_t column0, int64_t column1, float* out,
                          int64_t ld_out) {
  const int64_t width = images->rp > texts->rp ? images->rp : texts->rp, block = width * width;
  const int64_t kept = rule->steps > 2 ? TILE * width * rule->dp : 0;
  Arena arena(TILE * (2 * block + width) + 2 * block + 3 * width + width * (PANEL + LANES) + 3 * kept);
  if (!arena.memory) return 1;
  Scratch at;
  at.first = arena.floats(TILE * block);
  at.gram = arena.floats(TILE * block);
  at.alpha = arena.floats(block);
  at.weights = arena.floats(block);
  at.length = arena.floats(TILE * width);
  at.cosine = arena.floats(width);
  at.panel = arena.floats(width * PANEL);
  at.square = (double*)arena.floats(2 * width);
  at.squares = arena.floats(width * LANES);
  at.kept = arena.floats(kept);
  at.half = arena.floats(2 * kept);
  for (int64_t row = row0; row < row1; ++row)
    for (int64_t column = column0; column < column1; column += TILE) {
      const int64_t pairs = column1 - column < TILE ? column1 - column : TILE;
      int64_t image[TILE], text[TILE];
      float total[TILE] = {0};
      for (int64_t t = 0; t < pairs; ++t) {
        image[t] = row;
        text[t] = column + t;
        first_gram(*images, row, *texts, text[t], *rule, at.first + t * block);
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
  return 0;
}
