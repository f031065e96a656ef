/* Intersection over union of many masks with many others.
 *
 * Each mask is prepared once, in one of two forms that make intersections fast:
 *
 *     spans   The first and last row of each span of foreground in a column. Most objects have one
 *             or two spans a column, and vectors compare many columns at once.
 *     bits    One bit for each pixel of the mask's box, in bands of 64 rows. For small masks, and
 *             for masks with many spans a column.
 *
 * All masks of a call use the form whose total estimated cost is lower; spans only if every mask
 * with foreground can have them. A mask has no form if that would take too much memory. If one of
 * two masks has none, they are compared run by run. A mask with many runs may get an index: the
 * runs of a mask that has far fewer are looked up in it by binary search.
 */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

static bool boxes_meet(km_box a, km_box b)
{
    return a.x < (uint64_t)b.x + b.width && b.x < (uint64_t)a.x + a.width &&
           a.y < (uint64_t)b.y + b.height && b.y < (uint64_t)a.y + a.height;
}

/* ---- runs ---- */

/* Walks through the runs of both masks at once. */
static uint64_t intersection_of_runs(const km_mask *a, const km_mask *b)
{
    size_t i = 0, j = 0;
    uint64_t end_a = a->runs[0], end_b = b->runs[0], position = 0, area = 0;
    for (;;) {
        uint64_t next = end_a < end_b ? end_a : end_b;
        if (i & j & 1)
            area += next - position;
        position = next;
        if (end_a == next) {
            if (++i == a->n_runs)
                return area;
            end_a += a->runs[i];
        }
        if (end_b == next) {
            if (++j == b->n_runs)
                return area;
            end_b += b->runs[j];
        }
    }
}

/* Writes the index of a mask: where each run ends, and the area of foreground up to there, in 32
 * bits each. Returns the end of the index. */
static uint64_t *fill_index(km_iou_mask *one, uint64_t *scratch)
{
    const km_mask *mask = one->mask;
    uint32_t end = 0, area = 0;
    one->ends = (uint32_t *)scratch;
    one->areas = one->ends + mask->n_runs;
    for (size_t i = 0; i < mask->n_runs; i++) {
        end += mask->runs[i];
        area += i & 1 ? mask->runs[i] : 0;
        one->ends[i] = end;
        one->areas[i] = area;
    }
    return scratch + mask->n_runs;
}

/* The first run, from run `i` on, that ends after the pixel; n_runs if none does. Steps forward by
 * 1, 2, 4, ... runs, then searches between the last two steps by halving. */
static size_t run_at(const km_iou_mask *one, size_t i, uint64_t pixel)
{
    size_t n = one->mask->n_runs, step = 1;
    while (step < n - i && one->ends[i + step - 1] <= pixel) {
        i += step;
        step *= 2;
    }
    size_t last = step < n - i ? i + step : n;
    while (i < last) {
        size_t middle = i + (last - i) / 2;
        if (one->ends[middle] <= pixel)
            i = middle + 1;
        else
            last = middle;
    }
    return i;
}

/* The area of foreground before a pixel of run `i`; all foreground if `i` is n_runs. */
static uint64_t area_before(const km_iou_mask *one, size_t i, uint64_t pixel)
{
    if (i == 0)
        return 0;
    return one->areas[i - 1] + (i & 1 && i < one->mask->n_runs ? pixel - one->ends[i - 1] : 0);
}

/* Looks up each run of foreground of one mask in the index of the other. */
static uint64_t intersection_by_index(const km_mask *few, const km_iou_mask *many)
{
    uint64_t place = 0, area = 0;
    size_t at = 0;
    for (size_t i = 1; i < few->n_runs; i += 2) {
        place += few->runs[i - 1];
        at = run_at(many, at, place);
        uint64_t before = area_before(many, at, place);
        place += few->runs[i];
        at = run_at(many, at, place);
        area += area_before(many, at, place) - before;
    }
    return area;
}

/* ---- spans ---- */

/* Spans are for images of fewer rows, since the kernel adds rows as signed numbers of 16 bits. */
enum { TOO_MANY_ROWS = 1 << 15 };

static uint32_t width_of(const km_spans *spans)
{
    return spans->right - spans->left;
}

/* Finds the largest number of spans in a column, and for each n the range of columns that have an
 * nth span. Leaves n_spans at 0 if a column has more than KM_MAX_SPANS. */
static void measure_spans(km_iou_mask *one)
{
    const km_mask *mask = one->mask;
    km_spans *spans = one->spans;
    km_pixel pixel = {0, 0};
    uint32_t column = UINT32_MAX; /* the column of the piece before */
    unsigned n = 0, nth = 0;
    for (size_t i = 1; i < mask->n_runs; i += 2) {
        km_skip(&pixel, mask->runs[i - 1], mask->height);
        nth = pixel.column == column ? nth + 1 : 0;
        if (nth == KM_MAX_SPANS)
            return;
        if (nth == n)
            spans[n++].left = pixel.column / KM_SPAN_COLUMNS * KM_SPAN_COLUMNS;
        spans[nth].right = pixel.column + 1;
        pixel.row += mask->runs[i];
        if (pixel.row > mask->height) { /* the run goes on at the top of the next columns */
            uint64_t columns = (pixel.row - 1) / mask->height;
            pixel.row -= columns * mask->height;
            pixel.column += (uint32_t)columns;
            nth = 0;
            spans[0].right = pixel.column + 1;
        }
        column = pixel.column;
    }
    one->n_spans = n;
    for (unsigned i = 0; i < n; i++)
        spans[i].right = (spans[i].right + KM_SPAN_COLUMNS - 1) / KM_SPAN_COLUMNS * KM_SPAN_COLUMNS;
}

/* A span takes two numbers of 16 bits. */
static size_t words_of_spans(const km_iou_mask *one)
{
    size_t words = 0;
    for (unsigned i = 0; i < one->n_spans; i++)
        words += width_of(&one->spans[i]) / (sizeof(uint64_t) / (2 * sizeof(uint16_t)));
    return words;
}

/* Writes the spans of a mask. Returns their end. */
static uint64_t *fill_spans(km_iou_mask *one, uint64_t *scratch)
{
    size_t words = words_of_spans(one);
    km_walk walk = km_walk_start(one->mask);
    km_piece piece;
    uint32_t column = UINT32_MAX;
    unsigned nth = 0;
    uint16_t *next = (uint16_t *)scratch;
    memset(scratch, 0, words * sizeof *scratch);
    for (unsigned i = 0; i < one->n_spans; i++) {
        one->spans[i].firsts = next;
        one->spans[i].ends = next + width_of(&one->spans[i]);
        next += 2 * (size_t)width_of(&one->spans[i]);
    }
    while (km_walk_on(&walk, &piece)) {
        nth = piece.column == column ? nth + 1 : 0;
        column = piece.column;
        uint32_t at = column - one->spans[nth].left;
        one->spans[nth].firsts[at] = (uint16_t)piece.first;
        one->spans[nth].ends[at] = (uint16_t)piece.end;
    }
    return scratch + words;
}

/* ---- bits ---- */

/* The bits of a mask cover its box in bands of 64 rows of the image, with a word for each column:
 * see core/README.md. A word covers the same pixels in all masks. For whole vectors at aligned
 * addresses, boxes are widened to columns that are multiples of KM_VECTOR_WORDS. */
static km_box widened(km_box box)
{
    uint64_t end =
        ((uint64_t)box.x + box.width + KM_VECTOR_WORDS - 1) / KM_VECTOR_WORDS * KM_VECTOR_WORDS;
    box.x -= box.x % KM_VECTOR_WORDS;
    box.width = (uint32_t)(end - box.x);
    return box;
}

static uint32_t first_band(km_box box)
{
    return box.y / KM_WORD;
}

static uint32_t bands_end(km_box box)
{
    return box.height ? (box.y + box.height - 1) / KM_WORD + 1 : first_band(box);
}

static uint64_t words_of_bits(const km_iou_mask *one)
{
    km_box box = widened(one->box);
    return (uint64_t)(bands_end(box) - first_band(box)) * box.width;
}

/* Writes the bits of a mask. Returns their end. */
static uint64_t *set_bits(km_iou_mask *one, uint64_t *scratch)
{
    km_box box = widened(one->box);
    size_t words = (size_t)words_of_bits(one);
    uint64_t top = (uint64_t)first_band(box) * KM_WORD;
    km_walk walk = km_walk_start(one->mask);
    km_piece piece;
    memset(scratch, 0, words * sizeof *scratch);
    while (km_walk_on(&walk, &piece))
        km_set_range(scratch + (piece.column - box.x), box.width, piece.first - top,
                     piece.end - top);
    one->bits = scratch;
    return scratch + words;
}

static uint64_t intersection_of_bits(const km_iou_mask *a, const km_iou_mask *b)
{
    km_box p = widened(a->box), q = widened(b->box);
    uint32_t left = p.x > q.x ? p.x : q.x;
    uint32_t right = p.x + p.width < q.x + q.width ? p.x + p.width : q.x + q.width;
    uint32_t first = first_band(p) > first_band(q) ? first_band(p) : first_band(q);
    uint32_t end = bands_end(p) < bands_end(q) ? bands_end(p) : bands_end(q);
    if (first >= end)
        return 0;
    km_band_pair block = {
        .a = a->bits + (size_t)(first - first_band(p)) * p.width + (left - p.x),
        .b = b->bits + (size_t)(first - first_band(q)) * q.width + (left - q.x),
        .width_a = p.width,
        .width_b = q.width,
        .columns = right - left,
        .bands = end - first,
    };
    return km_simd.count_shared(&block);
}

/* ---- choosing a form ---- */

/* If a mask is compared with fewer masks than this, preparing bits, spans or an index does not pay.
 */
enum { PREPARE_FROM_MASKS = 3 };

/* A mask gets an index if it has at least INDEX_FROM_RUNS runs. The index is used if the other mask
 * has RUNS_OF_A_LOOK_UP times fewer runs: looking up one run takes about as long as walking through
 * RUNS_OF_A_LOOK_UP runs. */
enum { INDEX_FROM_RUNS = 64, RUNS_OF_A_LOOK_UP = 16 };

/* A form may take at most this many words for each run of the mask. */
enum { MAX_WORDS_A_RUN = 16 };

static bool is_worth(uint64_t words, const km_iou_mask *one)
{
    return words <= MAX_WORDS_A_RUN * (uint64_t)one->mask->n_runs;
}

/* Relative cost of one comparison, in columns of spans. A pair of km_spans costs its columns, plus
 * MISPREDICTION_COLUMNS for mispredicted branches; a word of bits costs WORD_OF_BITS_COLUMNS. */
enum { MISPREDICTION_COLUMNS = 256, WORD_OF_BITS_COLUMNS = 6 };

static uint64_t cost_of_spans(const km_iou_mask *one)
{
    return (uint64_t)one->n_spans * one->n_spans * (one->box.width + MISPREDICTION_COLUMNS);
}

static uint64_t cost_of_bits(const km_iou_mask *one)
{
    return WORD_OF_BITS_COLUMNS * words_of_bits(one);
}

/* If some masks with foreground have no bits, gives an index to each mask that has many runs and is
 * compared with enough others. Returns how many words the indexes take. */
static size_t choose_indexed(km_iou_mask *prepared, size_t n_a, size_t n_b)
{
    size_t words = 0, with_bits = 0, n = n_a + n_b;
    for (size_t i = 0; i < n; i++)
        with_bits += prepared[i].wants_bits || prepared[i].area == 0;
    for (size_t i = 0; i < n && with_bits < n; i++) {
        prepared[i].wants_index = prepared[i].mask->n_runs >= INDEX_FROM_RUNS &&
                                  (i < n_a ? n_b : n_a) >= PREPARE_FROM_MASKS;
        words += prepared[i].wants_index ? prepared[i].mask->n_runs : 0;
    }
    return words;
}

size_t km_iou_prepare(const km_mask *a, size_t n_a, const km_mask *b, size_t n_b,
                      km_iou_mask *prepared)
{
    size_t n = n_a + n_b, words_spans = 0, words_bits = 0;
    uint64_t spans = 0, bits = 0;
    bool all_have_spans = true;
    for (size_t i = 0; i < n; i++) {
        km_iou_mask *one = &prepared[i];
        const km_mask *mask = i < n_a ? &a[i] : &b[i - n_a];
        *one = (km_iou_mask){.mask = mask, .area = km_area(mask), .box = km_bounds(mask)};
        if (one->area == 0 || n_a < PREPARE_FROM_MASKS || n_b < PREPARE_FROM_MASKS)
            continue;
        if (all_have_spans && mask->height < TOO_MANY_ROWS &&
            mask->width < UINT32_MAX - KM_SPAN_COLUMNS)
            measure_spans(one);
        if (!is_worth(words_of_spans(one), one))
            one->n_spans = 0;
        one->wants_bits =
            mask->width < UINT32_MAX - KM_VECTOR_WORDS && is_worth(words_of_bits(one), one);
        words_spans += words_of_spans(one);
        words_bits += one->wants_bits ? (size_t)words_of_bits(one) : 0;
        spans += cost_of_spans(one);
        bits += cost_of_bits(one);
        all_have_spans &= one->n_spans > 0;
    }
    bool choose_spans = all_have_spans && spans < bits;
    for (size_t i = 0; i < n; i++)
        if (choose_spans)
            prepared[i].wants_bits = false;
        else
            prepared[i].n_spans = 0;
    size_t words = choose_spans ? words_spans : words_bits;
    if (!choose_spans)
        words += choose_indexed(prepared, n_a, n_b);
    return words ? KM_VECTOR_WORDS - 1 /* to align the first */ + words : 0;
}

static uint64_t intersection(const km_iou_mask *a, const km_iou_mask *b)
{
    size_t runs_a = a->mask->n_runs, runs_b = b->mask->n_runs;
    if (!boxes_meet(a->box, b->box))
        return 0;
    if (a->n_spans && b->n_spans)
        return km_simd.overlap_spans(a->spans, a->n_spans, b->spans, b->n_spans);
    if (a->bits && b->bits)
        return intersection_of_bits(a, b);
    if (a->ends && runs_b < runs_a / RUNS_OF_A_LOOK_UP)
        return intersection_by_index(b->mask, a);
    if (b->ends && runs_a < runs_b / RUNS_OF_A_LOOK_UP)
        return intersection_by_index(a->mask, b);
    return intersection_of_runs(a->mask, b->mask);
}

/* An estimate of the work to compare two masks, for the watch. */
static uint64_t work_of(const km_iou_mask *a, const km_iou_mask *b)
{
    if (a->n_spans && b->n_spans) {
        uint32_t columns = a->box.width < b->box.width ? a->box.width : b->box.width;
        return (uint64_t)a->n_spans * b->n_spans * (columns / 8 + 16);
    }
    if (a->bits && b->bits)
        return words_of_bits(a) < words_of_bits(b) ? words_of_bits(a) : words_of_bits(b);
    return a->mask->n_runs + b->mask->n_runs;
}

bool km_iou(km_iou_mask *prepared, size_t n_a, size_t n_b, uint64_t *scratch, double *iou,
            km_watch *watch)
{
    const km_iou_mask *a = prepared, *b = prepared + n_a;
    if (scratch)
        scratch += (0 - (uintptr_t)scratch / sizeof *scratch) % KM_VECTOR_WORDS;
    for (size_t i = 0; i < n_a + n_b; i++) {
        const uint64_t *start = scratch;
        if (prepared[i].wants_bits)
            scratch = set_bits(&prepared[i], scratch);
        else if (prepared[i].n_spans)
            scratch = fill_spans(&prepared[i], scratch);
        if (km_stopped(watch, (uint64_t)(scratch - start) + prepared[i].mask->n_runs))
            return false;
    }
    /* Indexes come after the bits: bits must be aligned, and an index has any number of words. */
    for (size_t i = 0; i < n_a + n_b; i++) {
        if (prepared[i].wants_index)
            scratch = fill_index(&prepared[i], scratch);
        if (km_stopped(watch, prepared[i].mask->n_runs))
            return false;
    }
    for (size_t i = 0; i < n_a; i++)
        for (size_t j = 0; j < n_b; j++) {
            uint64_t shared = intersection(&a[i], &b[j]);
            uint64_t together = a[i].area + b[j].area - shared;
            *iou++ = together > 0 ? (double)shared / (double)together : 0.0;
            if (km_stopped(watch, work_of(&a[i], &b[j])))
                return false;
        }
    return true;
}
