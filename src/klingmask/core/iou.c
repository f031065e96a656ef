/* Intersection over union of many masks with many others.
 *
 * Each mask is prepared once, in a form that is quick to meet others in:
 *
 *     tiers   where the foreground of every column starts and ends: most objects
 *             have a piece or two in a column, so a few vectors tell what is shared
 *     bits    a bit for every pixel of the box: for small masks, or of many pieces
 *
 * All masks of a call have the form that costs them less together. A mask of which it
 * would take too much memory has none: then runs meet runs. For masks of many runs that
 * meet others that way there is an index, so that those of few runs look up theirs.
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

/* Walks both masks' runs at once; `end` is where the current run ends. */
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

/* Where each run ends, and how much foreground there is up to there: two numbers of 32 bits for
 * each run. Returns where what it writes ends. */
static uint64_t *fill_index(km_shape *shape, uint64_t *scratch)
{
    const km_mask *mask = shape->mask;
    uint32_t end = 0, area = 0;
    shape->ends = (uint32_t *)scratch;
    shape->areas = shape->ends + mask->n_runs;
    for (size_t i = 0; i < mask->n_runs; i++) {
        end += mask->runs[i];
        area += i & 1 ? mask->runs[i] : 0;
        shape->ends[i] = end;
        shape->areas[i] = area;
    }
    return scratch + mask->n_runs;
}

/* The first run from `i` on that ends after the pixel, or n_runs: doubling steps, then halving. */
static size_t run_at(const km_shape *shape, size_t i, uint64_t pixel)
{
    size_t n = shape->mask->n_runs, step = 1;
    while (step < n - i && shape->ends[i + step - 1] <= pixel) {
        i += step;
        step *= 2;
    }
    size_t last = step < n - i ? i + step : n;
    while (i < last) {
        size_t middle = i + (last - i) / 2;
        if (shape->ends[middle] <= pixel)
            i = middle + 1;
        else
            last = middle;
    }
    return i;
}

/* The foreground before a pixel that lies in run `i`, or behind all runs. */
static uint64_t area_before(const km_shape *shape, size_t i, uint64_t pixel)
{
    if (i == 0)
        return 0;
    return shape->areas[i - 1] +
           (i & 1 && i < shape->mask->n_runs ? pixel - shape->ends[i - 1] : 0);
}

/* Looks up each run of foreground of a mask of few runs in one that has an index. */
static uint64_t intersection_by_index(const km_mask *few, const km_shape *many)
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

/* ---- tiers ---- */

enum { TALLEST = 1 << 15 }; /* rows, exclusive: so that they fit the kernel */

static uint32_t width_of(const km_tier *tier)
{
    return tier->right - tier->left;
}

/* Finds the columns of every tier; leaves n_tiers at 0 if there are too many. */
static void measure_tiers(km_shape *shape)
{
    const km_mask *mask = shape->mask;
    km_tier *tiers = shape->tiers;
    km_pixel pixel = {0, 0};
    uint32_t column = UINT32_MAX; /* that of the piece before */
    unsigned n = 0, tier = 0;
    for (size_t i = 1; i < mask->n_runs; i += 2) {
        km_skip(&pixel, mask->runs[i - 1], mask->height);
        tier = pixel.column == column ? tier + 1 : 0;
        if (tier == KM_TIERS)
            return;
        if (tier == n)
            tiers[n++].left = pixel.column / KM_GRID * KM_GRID;
        tiers[tier].right = pixel.column + 1;
        pixel.row += mask->runs[i];
        if (pixel.row > mask->height) { /* on into other columns, from their top */
            uint64_t columns = (pixel.row - 1) / mask->height;
            pixel.row -= columns * mask->height;
            pixel.column += (uint32_t)columns;
            tier = 0;
            tiers[0].right = pixel.column + 1;
        }
        column = pixel.column;
    }
    shape->n_tiers = n;
    for (unsigned i = 0; i < n; i++)
        tiers[i].right = (tiers[i].right + KM_GRID - 1) / KM_GRID * KM_GRID;
}

/* Two numbers of 16 bits for each column. */
static size_t words_of_tiers(const km_shape *shape)
{
    size_t words = 0;
    for (unsigned i = 0; i < shape->n_tiers; i++)
        words += width_of(&shape->tiers[i]) / (sizeof(uint64_t) / (2 * sizeof(uint16_t)));
    return words;
}

/* Returns where what it writes ends. */
static uint64_t *fill_tiers(km_shape *shape, uint64_t *scratch)
{
    size_t words = words_of_tiers(shape);
    km_walk walk = km_walk_start(shape->mask);
    km_piece piece;
    uint32_t column = UINT32_MAX;
    unsigned tier = 0;
    uint16_t *next = (uint16_t *)scratch;
    memset(scratch, 0, words * sizeof *scratch);
    for (unsigned i = 0; i < shape->n_tiers; i++) {
        shape->tiers[i].firsts = next;
        shape->tiers[i].ends = next + width_of(&shape->tiers[i]);
        next += 2 * (size_t)width_of(&shape->tiers[i]);
    }
    while (km_walk_on(&walk, &piece)) {
        tier = piece.column == column ? tier + 1 : 0;
        column = piece.column;
        uint32_t at = column - shape->tiers[tier].left;
        shape->tiers[tier].firsts[at] = (uint16_t)piece.first;
        shape->tiers[tier].ends[at] = (uint16_t)piece.end;
    }
    return scratch + words;
}

/* ---- bits ---- */

/* The bits of a mask cover its box, 64 rows of the image a word: band after
 * band, in each a word for every column. So the same word of two masks is the
 * same piece of the image, and the words of one band lie side by side: from a
 * column that is a multiple of KM_VECTOR_WORDS to another, at an address that is one of
 * so many words, so that vectors of two masks meet without being cut. */
static km_box on_grid(km_box box)
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

static uint64_t words_of_bits(const km_shape *shape)
{
    km_box box = on_grid(shape->box);
    return (uint64_t)(bands_end(box) - first_band(box)) * box.width;
}

/* Returns where what it writes ends. */
static uint64_t *set_bits(km_shape *shape, uint64_t *scratch)
{
    km_box box = on_grid(shape->box);
    size_t words = (size_t)words_of_bits(shape);
    uint64_t top = (uint64_t)first_band(box) * KM_WORD;
    km_walk walk = km_walk_start(shape->mask);
    km_piece piece;
    memset(scratch, 0, words * sizeof *scratch);
    while (km_walk_on(&walk, &piece))
        km_set_range(scratch + (piece.column - box.x), box.width, piece.first - top,
                     piece.end - top);
    shape->bits = scratch;
    return scratch + words;
}

static uint64_t intersection_of_bits(const km_shape *a, const km_shape *b)
{
    km_box p = on_grid(a->box), q = on_grid(b->box);
    uint32_t left = p.x > q.x ? p.x : q.x;
    uint32_t right = p.x + p.width < q.x + q.width ? p.x + p.width : q.x + q.width;
    uint32_t first = first_band(p) > first_band(q) ? first_band(p) : first_band(q);
    uint32_t end = bands_end(p) < bands_end(q) ? bands_end(p) : bands_end(q);
    if (first >= end)
        return 0;
    km_block block = {
        .a = a->bits + (size_t)(first - first_band(p)) * p.width + (left - p.x),
        .b = b->bits + (size_t)(first - first_band(q)) * q.width + (left - q.x),
        .width_a = p.width,
        .width_b = q.width,
        .columns = right - left,
        .bands = end - first,
    };
    return km_simd.count_shared(&block);
}

/* ---- the best of them ---- */

/* Runs do for masks that meet fewer others. */
enum { FEW = 3 };

/* An index is made for masks of at least so many runs; and used if the other has so many times
 * fewer, since to look up a run takes about as long as to walk over 16. */
enum { INDEX_FROM = 64, RUNS_OF_A_LOOK_UP = 16 };

/* A form takes no more memory than a multiple of the mask's runs. */
static bool is_worth(uint64_t words, const km_shape *shape)
{
    return words <= 16 * (uint64_t)shape->mask->n_runs;
}

/* What it costs to meet others, in a unit of no account: for tiers, every two that meet
 * take some vectors of columns and as long again as a branch or two that are missed. */
static uint64_t cost_of_tiers(const km_shape *shape)
{
    return (uint64_t)shape->n_tiers * shape->n_tiers * (shape->box.width + 256);
}

static uint64_t cost_of_bits(const km_shape *shape)
{
    return 6 * words_of_bits(shape);
}

/* Masks that meet many by runs get an index. Returns how many words these take. */
static size_t choose_indexed(km_shape *shapes, size_t n_a, size_t n_b)
{
    size_t words = 0, with_bits = 0, n = n_a + n_b;
    for (size_t i = 0; i < n; i++)
        with_bits += shapes[i].wants_bits || shapes[i].area == 0;
    for (size_t i = 0; i < n && with_bits < n; i++) {
        shapes[i].wants_index =
            shapes[i].mask->n_runs >= INDEX_FROM && (i < n_a ? n_b : n_a) >= FEW;
        words += shapes[i].wants_index ? shapes[i].mask->n_runs : 0;
    }
    return words;
}

size_t km_iou_prepare(const km_mask *a, size_t n_a, const km_mask *b, size_t n_b, km_shape *shapes)
{
    size_t n = n_a + n_b, words_tiers = 0, words_bits = 0;
    uint64_t tiers = 0, bits = 0;
    bool all_have_tiers = true;
    for (size_t i = 0; i < n; i++) {
        km_shape *shape = &shapes[i];
        const km_mask *mask = i < n_a ? &a[i] : &b[i - n_a];
        *shape = (km_shape){.mask = mask, .area = km_area(mask), .box = km_bounds(mask)};
        if (shape->area == 0 || n_a < FEW || n_b < FEW)
            continue;
        if (all_have_tiers && mask->height < TALLEST && mask->width < UINT32_MAX - KM_GRID)
            measure_tiers(shape);
        if (!is_worth(words_of_tiers(shape), shape))
            shape->n_tiers = 0;
        shape->wants_bits =
            mask->width < UINT32_MAX - KM_VECTOR_WORDS && is_worth(words_of_bits(shape), shape);
        words_tiers += words_of_tiers(shape);
        words_bits += shape->wants_bits ? (size_t)words_of_bits(shape) : 0;
        tiers += cost_of_tiers(shape);
        bits += cost_of_bits(shape);
        all_have_tiers &= shape->n_tiers > 0;
    }
    bool choose_tiers = all_have_tiers && tiers < bits;
    for (size_t i = 0; i < n; i++)
        if (choose_tiers)
            shapes[i].wants_bits = false;
        else
            shapes[i].n_tiers = 0;
    size_t words = choose_tiers ? words_tiers : words_bits;
    if (!choose_tiers)
        words += choose_indexed(shapes, n_a, n_b);
    return words ? KM_VECTOR_WORDS - 1 /* to align the first */ + words : 0;
}

static uint64_t intersection(const km_shape *a, const km_shape *b)
{
    size_t runs_a = a->mask->n_runs, runs_b = b->mask->n_runs;
    if (!boxes_meet(a->box, b->box))
        return 0;
    if (a->n_tiers && b->n_tiers)
        return km_simd.overlap(a->tiers, a->n_tiers, b->tiers, b->n_tiers);
    if (a->bits && b->bits)
        return intersection_of_bits(a, b);
    if (a->ends && runs_b < runs_a / RUNS_OF_A_LOOK_UP)
        return intersection_by_index(b->mask, a);
    if (b->ends && runs_a < runs_b / RUNS_OF_A_LOOK_UP)
        return intersection_by_index(a->mask, b);
    return intersection_of_runs(a->mask, b->mask);
}

/* About how long two masks take to meet, for the watch. */
static uint64_t work_of(const km_shape *a, const km_shape *b)
{
    if (a->n_tiers && b->n_tiers) {
        uint32_t columns = a->box.width < b->box.width ? a->box.width : b->box.width;
        return (uint64_t)a->n_tiers * b->n_tiers * (columns / 8 + 16);
    }
    if (a->bits && b->bits)
        return words_of_bits(a) < words_of_bits(b) ? words_of_bits(a) : words_of_bits(b);
    return a->mask->n_runs + b->mask->n_runs;
}

bool km_iou(km_shape *shapes, size_t n_a, size_t n_b, uint64_t *scratch, double *iou,
            km_watch *watch)
{
    const km_shape *a = shapes, *b = shapes + n_a;
    if (scratch)
        scratch += (0 - (uintptr_t)scratch / sizeof *scratch) % KM_VECTOR_WORDS;
    for (size_t i = 0; i < n_a + n_b; i++) {
        const uint64_t *start = scratch;
        if (shapes[i].wants_bits)
            scratch = set_bits(&shapes[i], scratch);
        else if (shapes[i].n_tiers)
            scratch = fill_tiers(&shapes[i], scratch);
        if (km_stopped(watch, (uint64_t)(scratch - start) + shapes[i].mask->n_runs))
            return false;
    }
    for (size_t i = 0; i < n_a + n_b; i++) { /* behind the bits, which are aligned */
        if (shapes[i].wants_index)
            scratch = fill_index(&shapes[i], scratch);
        if (km_stopped(watch, shapes[i].mask->n_runs))
            return false;
    }
    for (size_t i = 0; i < n_a; i++)
        for (size_t j = 0; j < n_b; j++) {
            uint64_t shared = intersection(&a[i], &b[j]);
            uint64_t together = a[i].area + b[j].area - shared;
            *iou++ = together > 0 ? (double)shared / (double)together : 0.0;
            if (watch && km_stopped(watch, work_of(&a[i], &b[j])))
                return false;
        }
    return true;
}
