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

enum { LINE = 64 }; /* bytes of a cache line */

/* Rows are decoded in tiles: the bits of a tile's rows fit the second-level cache. */
static inline size_t tile_words(uint32_t columns)
{
    return km_words(columns < KM_TILE ? columns : KM_TILE);
}

size_t km_decode_rows_scratch(uint32_t height, uint32_t width)
{
    return height * tile_words(width);
}

/* The columns left to right - 1, and their rows of `words` words of bits. */
typedef struct {
    uint32_t left, right;
    size_t words;
    uint64_t *changes;
    uint64_t top, bottom; /* the rows that have foreground, so far */
} km_tile;

static inline void change(km_tile *tile, uint64_t row, uint32_t column)
{
    uint32_t x = column - tile->left;
    tile->changes[row * tile->words + x / KM_WORD] ^= UINT64_C(1) << x % KM_WORD;
}

/* Where the walk through the runs stands: at a run of foreground. */
typedef struct {
    size_t index;
    km_pixel first;
} km_cursor;

/* Marks the pixels of the tile that differ from the one above. Every column
 * starts from background: one that the run above it enters begins with a change. */
static void mark_changes(const km_mask *mask, km_cursor *cursor, km_tile *tile)
{
    uint32_t height = mask->height;
    while (cursor->index < mask->n_runs && cursor->first.column < tile->right) {
        uint64_t end = cursor->first.row + mask->runs[cursor->index];
        if (end <= height) {
            change(tile, cursor->first.row, cursor->first.column);
            if (end < height)
                change(tile, end, cursor->first.column);
            tile->top = cursor->first.row < tile->top ? cursor->first.row : tile->top;
            tile->bottom = end > tile->bottom ? end : tile->bottom;
            cursor->first.row = end;
        } else {
            tile->top = 0;
            tile->bottom = height;
            if (cursor->first.column >= tile->left)
                change(tile, cursor->first.row, cursor->first.column);
            uint64_t last = cursor->first.column + (end - 1) / height; /* column and row of the */
            uint64_t bottom = (end - 1) % height + 1;            /* last pixel, plus one */
            uint64_t column = cursor->first.column + UINT64_C(1);
            column = column > tile->left ? column : tile->left;
            for (; column <= last && column < tile->right; column++)
                change(tile, 0, (uint32_t)column);
            if (last >= tile->right)
                return; /* the next tile has more of this run */
            if (bottom < height)
                change(tile, bottom, (uint32_t)last);
            cursor->first.column = (uint32_t)last;
            cursor->first.row = bottom;
        }
        if (++cursor->index < mask->n_runs)
            km_skip(&cursor->first, mask->runs[cursor->index++], height);
    }
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

void km_decode_rows(const km_mask *mask, uint8_t value, uint8_t *pixels, ptrdiff_t stride,
                    uint64_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    if (height == 0 || width == 0)
        return;
    if (mask->n_runs < 2) {
        clear(pixels, stride, height, width);
        return;
    }
    /* A mask in less than half of the columns is painted on a cleared image. */
    uint64_t end = km_pixels(mask) - (mask->n_runs % 2 ? mask->runs[mask->n_runs - 1] : 0);
    uint32_t first = mask->runs[0] / height, last = (uint32_t)((end - 1) / height);
    bool narrow = last - first < width / 2;
    if (narrow)
        clear(pixels, stride, height, width);
    uint32_t right = narrow ? last + 1 : width;
    km_cursor cursor = {1, {first, mask->runs[0] % height}};
    /* Vectors are stored fastest where they do not cross cache lines. If all
     * rows start alike, `skew` columns in a line begins; so do the tiles then. */
    uint32_t skew = stride % LINE == 0 ? (uint32_t)(-(uintptr_t)pixels % LINE) : 0;
    uint32_t past = narrow ? (first + LINE - skew) % LINE : first;
    for (uint32_t left = first > past ? first - past : 0; left < right;) {
        uint32_t columns = left == 0 && skew > 0 ? skew : KM_TILE;
        km_tile tile = {left, right - left > columns ? left + columns : right, 0, scratch, height, 0};
        tile.words = tile_words(tile.right - left);
        memset(scratch, 0, height * tile.words * sizeof *scratch);
        mark_changes(mask, &cursor, &tile);
        if (!narrow) {
            tile.top = 0;
            tile.bottom = height;
        }
        if (tile.top < tile.bottom)
            km_simd.paint(scratch + tile.top * tile.words, (size_t)(tile.bottom - tile.top),
                          tile.right - left, value,
                          pixels + (ptrdiff_t)tile.top * stride + left, stride);
        left = tile.right;
    }
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
