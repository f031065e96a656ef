/* runs <-> pixels, in both memory orders.
 *
 * Runs go down the columns; most pixels in memory go along the rows. Neither
 * direction visits pixel after pixel with a stride: on the way between there
 * is a bit for each pixel, row-major, and a bit set in the *changes* means
 * that the pixel differs from the one before it in column-major order. A run
 * costs two changes, however long it is, and 64 pixels are a word.
 */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd.h"

#include <string.h>

/* ---- runs -> pixels ---- */

void km_decode_columns(const km_mask *mask, uint8_t value, uint8_t *pixels)
{
    if (km_pixels(mask) > 0) /* else `pixels` may be NULL */
        km_simd.fill(mask->runs, mask->n_runs, value, pixels);
}

/* The part of the image that there are bits for: the columns left to right - 1 of
 * the rows first to end - 1. Each row has `words` words of bits, of which the first
 * `skip` bits are left out. */
typedef struct {
    uint32_t left, right, skip;
    uint64_t first, end;
    size_t words;
    uint64_t *changes;
    uint64_t top, bottom; /* the rows that have foreground */
} km_window;

enum { LINE = 64 }; /* bytes of a cache line */

size_t km_decode_rows_scratch(uint32_t height, uint32_t width)
{
    return height * km_words((uint64_t)width + LINE);
}

static inline void change(km_window *window, uint64_t row, uint32_t column)
{
    uint32_t bit = column - window->left + window->skip;
    window->changes[(row - window->first) * window->words + bit / KM_WORD] ^= UINT64_C(1)
                                                                              << bit % KM_WORD;
}

/* Marks the pixels that differ from the one above. Every column starts from
 * background: one that the run above it enters begins with a change. */
static void mark_changes(const km_mask *mask, km_window *window)
{
    uint32_t height = mask->height;
    uint64_t top = height, bottom = 0;
    km_pixel pixel = {0, 0};
    for (size_t i = 1; i < mask->n_runs; i += 2) {
        km_skip(&pixel, mask->runs[i - 1], height);
        uint64_t end = pixel.row + mask->runs[i];
        change(window, pixel.row, pixel.column);
        if (end <= height) {
            top = pixel.row < top ? pixel.row : top;
            bottom = end > bottom ? end : bottom;
        } else {
            top = 0;
            bottom = height;
            for (; end > height; end -= height)
                change(window, 0, ++pixel.column);
        }
        if (end < window->end)
            change(window, end, pixel.column);
        pixel.row = end;
    }
    window->top = top;
    window->bottom = bottom;
}

/* Background all over. */
static void clear(uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width)
{
    if (stride == (ptrdiff_t)width) {
        memset(pixels, 0, (size_t)height * width);
        return;
    }
    for (uint32_t y = 0; y < height; y++)
        memset(pixels + (ptrdiff_t)y * stride, 0, width);
}

bool km_is_narrow(const km_mask *mask)
{
    uint32_t left, right;
    if (mask->n_runs < 2)
        return true;
    km_columns(mask, &left, &right);
    return right - left <= mask->width / 2;
}

void km_decode_rows(const km_mask *mask, uint8_t value, bool cleared, uint8_t *pixels,
                    ptrdiff_t stride, uint64_t *scratch)
{
    uint32_t height = mask->height, width = mask->width, left, right;
    if (height == 0 || width == 0)
        return;
    bool narrow = cleared || km_is_narrow(mask);
    if (narrow && !cleared)
        clear(pixels, stride, height, width);
    if (mask->n_runs < 2)
        return;
    km_columns(mask, &left, &right);
    km_window window = {0, narrow ? right : width, 0, 0, height, 0, scratch, 0, 0};
    /* Vectors are stored fastest where they do not cross cache lines. Where all
     * rows start alike, words of bits start where lines do. */
    uint32_t past = stride % LINE == 0 ? (uint32_t)((uintptr_t)pixels % LINE) : 0;
    uint32_t in_line = (left + past) % LINE;
    if (narrow && in_line <= left)
        window.left = left - in_line;
    else
        window.skip = past;
    uint32_t columns = window.right - window.left;
    window.words = km_words((uint64_t)columns + window.skip);
    memset(scratch, 0, height * window.words * sizeof *scratch);
    mark_changes(mask, &window);
    if (!narrow) {
        clear(pixels, stride, (uint32_t)window.top, width);
        clear(pixels + (ptrdiff_t)window.bottom * stride, stride, height - (uint32_t)window.bottom,
              width);
    }
    km_simd.paint(scratch + window.top * window.words, (size_t)(window.bottom - window.top),
                  columns, window.skip, value,
                  pixels + (ptrdiff_t)window.top * stride + window.left, stride);
}

void km_draw_bits(const km_mask *mask, km_box box, uint64_t *bits)
{
    size_t words = km_words(box.width);
    if (box.width == 0)
        return;
    km_window window = {
        box.x, box.x + box.width, 0, box.y, (uint64_t)box.y + box.height, words, bits, 0, 0};
    memset(bits, 0, box.height * words * sizeof *bits);
    mark_changes(mask, &window);
    for (size_t i = words; i < box.height * words; i++)
        bits[i] ^= bits[i - words];
}

/* ---- pixels -> runs ---- */

/* What is between the two steps of encoding, in the caller's scratch: how many
 * words have changes, and which; for rows also the bits of a row and a counter
 * for each column. */
typedef struct {
    uint64_t *n;
    uint64_t *colours;
    uint32_t *counters;
    km_changes *listed;
} km_scan;

enum { CHANGES_WORDS = sizeof(km_changes) / sizeof(uint64_t) };

static km_scan scan_of_rows(uint64_t *scratch, uint32_t width)
{
    uint64_t *colours = scratch + 1, *counters = colours + km_words(width);
    km_changes *listed = (km_changes *)(counters + ((size_t)width + 1) / 2);
    return (km_scan){scratch, colours, (uint32_t *)counters, listed};
}

size_t km_scan_rows_scratch(uint32_t height, uint32_t width)
{
    size_t words = km_words(width);
    return 1 + words + ((size_t)width + 1) / 2 + CHANGES_WORDS * (words * height + 1);
}

size_t km_scan_columns_scratch(uint32_t height, uint32_t width)
{
    return 1 + CHANGES_WORDS * (km_words((size_t)height * width) + 1);
}

/* Turns positions of changes into the gaps between them. */
static void positions_to_runs(uint32_t *runs, size_t n_changes, uint64_t pixels)
{
    uint32_t before = 0;
    for (size_t i = 0; i < n_changes; i++) {
        uint32_t position = runs[i];
        runs[i] = position - before;
        before = position;
    }
    runs[n_changes] = (uint32_t)(pixels - before);
}

size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width, uint64_t *scratch)
{
    km_changes *listed = (km_changes *)(scratch + 1);
    scratch[0] = km_simd.scan_line(pixels, (size_t)height * width, listed);
    size_t n_changes = 0;
    for (size_t i = 0; i < scratch[0]; i++)
        n_changes += km_count_ones(listed[i].bits);
    return n_changes + 1;
}

void km_runs_columns(const uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    const km_changes *listed = (const km_changes *)(scratch + 1);
    size_t n_changes = 0;
    for (size_t i = 0; i < scratch[0]; i++)
        for (uint64_t bits = listed[i].bits; bits; bits &= bits - 1)
            runs[n_changes++] = listed[i].word * KM_WORD + km_lowest_one(bits);
    positions_to_runs(runs, n_changes, (uint64_t)height * width);
}

size_t km_scan_rows(const uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width,
                    uint64_t *scratch)
{
    km_scan scan = scan_of_rows(scratch, width);
    *scan.n = 0;
    if (height == 0 || width == 0)
        return 1;
    size_t words = km_words(width), n_changes = 0;
    memset(scan.colours, 0, words * sizeof *scan.colours);
    memset(scan.counters, 0, width * sizeof *scan.counters);
    /* Before the first pixel of a column comes the last of the column to its
     * left: above row 0 is the last row, one column further. */
    const uint8_t *last = pixels + (ptrdiff_t)(height - 1) * stride;
    km_simd.scan_rows(last, stride, 1, width, scan.colours, scan.listed);
    uint64_t carry = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = scan.colours[i];
        scan.colours[i] = word << 1 | carry;
        carry = word >> (KM_WORD - 1);
    }
    if (width % KM_WORD)
        scan.colours[words - 1] &= (UINT64_C(1) << width % KM_WORD) - 1;
    *scan.n = km_simd.scan_rows(pixels, stride, height, width, scan.colours, scan.listed);
    for (size_t i = 0; i < *scan.n; i++) {
        uint32_t *counters = scan.counters + (size_t)scan.listed[i].word * KM_WORD;
        for (uint64_t bits = scan.listed[i].bits; bits; bits &= bits - 1, n_changes++)
            counters[km_lowest_one(bits)]++;
    }
    return n_changes + 1;
}

/* A counting sort: the changes come row by row and leave column by column. */
void km_runs_rows(uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    km_scan scan = scan_of_rows(scratch, width);
    if (height == 0 || width == 0) {
        runs[0] = 0;
        return;
    }
    uint32_t n_changes = 0;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t in_column = scan.counters[x];
        scan.counters[x] = n_changes; /* from now on: where the column's next one goes */
        n_changes += in_column;
    }
    for (size_t i = 0; i < *scan.n; i++) {
        uint32_t left = scan.listed[i].word * KM_WORD, row = scan.listed[i].row;
        for (uint64_t bits = scan.listed[i].bits; bits; bits &= bits - 1) {
            uint32_t column = left + km_lowest_one(bits);
            runs[scan.counters[column]++] = column * height + row;
        }
    }
    positions_to_runs(runs, n_changes, (uint64_t)height * width);
}
