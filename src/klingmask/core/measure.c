/* Numbers about masks, straight from the runs: area, bounding box,
 * intersection over union, a point's colour. */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd.h"

#include <string.h>

uint64_t km_area(const km_mask *mask)
{
    uint64_t area = 0;
    for (size_t i = 1; i < mask->n_runs; i += 2)
        area += mask->runs[i];
    return area;
}

/* As rows_of in simd.h, with no limit to the runs. */
static void find_rows(km_rows *rows)
{
    const uint32_t *runs = rows->runs, *runs_end = runs + 2 * rows->pairs;
    uint64_t end = 0;
    for (; runs < runs_end && end <= rows->height; runs += 2) {
        uint64_t row = end + runs[0];
        if (row >= rows->height) {
            row -= rows->height; /* nearly always enough */
            if (row >= rows->height)
                row %= rows->height;
        }
        end = row + runs[1];
        rows->top = row < rows->top ? row : rows->top;
        rows->bottom = end > rows->bottom ? end : rows->bottom;
    }
}

km_box km_bounds(const km_mask *mask)
{
    uint32_t left, right;
    km_rows rows = {mask->runs, mask->n_runs / 2, mask->height, mask->height, 0};
    if (rows.pairs == 0)
        return (km_box){0, 0, 0, 0};
    km_columns(mask, &left, &right);
    bool vectors =
        km_simd.rows_of && km_pixels(mask) < UINT64_C(1) << 31 && mask->width < 1 << 20;
    (vectors ? km_simd.rows_of : find_rows)(&rows);
    if (rows.bottom > mask->height) /* into the next column, so the rows are all there */
        rows = (km_rows){.top = 0, .bottom = mask->height};
    return (km_box){left, (uint32_t)rows.top, right - left, (uint32_t)(rows.bottom - rows.top)};
}

size_t km_box_runs(km_box box, uint32_t height, uint32_t width, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    uint64_t written = 0;
    for (uint32_t i = 0; i < box.width && box.height > 0; i++) {
        uint64_t start = (uint64_t)(box.x + i) * height + box.y;
        km_write(&writer, 0, (uint32_t)(start - written));
        km_write(&writer, 1, box.height);
        written = start + box.height;
    }
    km_write(&writer, 0, (uint32_t)((uint64_t)height * width - written));
    return writer.n;
}

void km_centroid(const km_mask *mask, double *x, double *y)
{
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    double area = (double)km_area(mask), sum_x = 0, sum_y = 0;
    while (km_walk_on(&walk, &piece)) {
        double length = piece.end - piece.first;
        sum_x += length * (piece.column + 0.5);
        sum_y += length * (0.5 * piece.first + 0.5 * piece.end);
    }
    *x = area > 0 ? sum_x / area : 0;
    *y = area > 0 ? sum_y / area : 0;
}

bool km_contains(const km_mask *mask, uint32_t x, uint32_t y)
{
    if (x >= mask->width || y >= mask->height)
        return false;
    uint64_t position = (uint64_t)x * mask->height + y, end = 0;
    for (size_t i = 0; i < mask->n_runs; i++) {
        end += mask->runs[i];
        if (position < end)
            return i & 1;
    }
    return false;
}

/* ---- intersection over union ---- */

static bool boxes_meet(km_box a, km_box b)
{
    return a.x < (uint64_t)b.x + b.width && b.x < (uint64_t)a.x + a.width &&
           a.y < (uint64_t)b.y + b.height && b.y < (uint64_t)a.y + a.height;
}

/* Walks both masks' runs at once; `end` is where the current run ends. */
static uint64_t intersection_area(const km_mask *a, const km_mask *b)
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

/* The bits of a mask cover its box, 64 rows of the image a word: band after
 * band, in each a word for every column. So the same word of two masks is the
 * same piece of the image, and the words of one band lie side by side: from a
 * column that is a multiple of KM_BLOCK to another, at an address that is one of
 * so many words, so that vectors of two masks meet without being cut. */
static km_box on_grid(km_box box)
{
    uint64_t end = ((uint64_t)box.x + box.width + KM_BLOCK - 1) / KM_BLOCK * KM_BLOCK;
    box.x -= box.x % KM_BLOCK;
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

static uint64_t bits_of_box(km_box box)
{
    return (uint64_t)(bands_end(box) - first_band(box)) * box.width;
}

/* Bits pay where a mask meets many others, and do not take more memory than a
 * multiple of its runs. */
static bool bits_are_worth_it(const km_mask *mask, km_box box, size_t others)
{
    return others >= 4 && box.width > 0 && box.x < UINT32_MAX - box.width - KM_BLOCK &&
           bits_of_box(box) <= 16 * (uint64_t)mask->n_runs;
}

size_t km_shapes(const km_mask *masks, size_t n, size_t others, km_shape *shapes)
{
    size_t words = KM_BLOCK - 1; /* to align the first */
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(&masks[i]);
        bool worth_it = bits_are_worth_it(&masks[i], box, others);
        shapes[i] = (km_shape){&masks[i], km_area(&masks[i]), box, worth_it, NULL};
        words += worth_it ? (size_t)bits_of_box(on_grid(box)) : 0;
    }
    return words;
}

/* Sets rows of a column of bands that are `width` words apart; from < to. */
static inline void set_rows(uint64_t *word, size_t width, uint64_t from, uint64_t to)
{
    uint64_t first = from / KM_WORD, last = (to - 1) / KM_WORD;
    uint64_t low = ~UINT64_C(0) << from % KM_WORD;
    uint64_t high = ~UINT64_C(0) >> (KM_WORD - 1 - (to - 1) % KM_WORD);
    word += first * width;
    if (first == last) {
        *word |= low & high;
        return;
    }
    *word |= low;
    for (uint64_t band = first + 1; band < last; band++)
        *(word += width) = ~UINT64_C(0);
    word[width] |= high;
}

static void set_bits(const km_mask *mask, km_box box, uint64_t *bits)
{
    uint64_t top = (uint64_t)first_band(box) * KM_WORD;
    km_pixel pixel = {0, 0};
    for (size_t i = 1; i < mask->n_runs; i += 2) {
        km_skip(&pixel, mask->runs[i - 1], mask->height);
        uint64_t end = pixel.row + mask->runs[i];
        for (; end > mask->height; end -= mask->height, pixel.row = 0)
            set_rows(bits + (pixel.column++ - box.x), box.width, pixel.row - top,
                     mask->height - top);
        set_rows(bits + (pixel.column - box.x), box.width, pixel.row - top, end - top);
        pixel.row = end;
    }
}

void km_shapes_bits(km_shape *shapes, size_t n, uint64_t *scratch)
{
    scratch += (0 - (uintptr_t)scratch / sizeof *scratch) % KM_BLOCK;
    for (size_t i = 0; i < n; i++) {
        if (!shapes[i].worth_bits)
            continue;
        km_box grid = on_grid(shapes[i].box);
        size_t words = (size_t)bits_of_box(grid);
        memset(scratch, 0, words * sizeof *scratch);
        set_bits(shapes[i].mask, grid, scratch);
        shapes[i].bits = scratch;
        scratch += words;
    }
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

void km_iou(const km_shape *a, size_t n_a, const km_shape *b, size_t n_b, double *iou)
{
    for (size_t i = 0; i < n_a; i++)
        for (size_t j = 0; j < n_b; j++) {
            uint64_t shared = 0;
            if (boxes_meet(a[i].box, b[j].box))
                shared = a[i].bits && b[j].bits ? intersection_of_bits(&a[i], &b[j])
                                                : intersection_area(a[i].mask, b[j].mask);
            uint64_t together = a[i].area + b[j].area - shared;
            *iou++ = together > 0 ? (double)shared / (double)together : 0.0;
        }
}
