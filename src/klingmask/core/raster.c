/* runs <-> pixels, in both memory orders.
 *
 * Runs go down the columns; most pixels in memory go along the rows. Neither
 * direction visits pixel after pixel with a stride: on the way between there
 * is a bit for each pixel, row-major, and a bit set in the *changes* means
 * that the pixel differs from the one before it in column-major order. A run
 * costs two changes, however long it is, and 64 pixels are a word.
 */
#include "klingmask.h"

#include <string.h>

/* ---- bits <-> bytes ---- */

enum { WORD = 64, PIXELS_PER_BYTE = 8 };

#define ONES UINT64_C(0x0101010101010101)
#define LOW7 UINT64_C(0x7f7f7f7f7f7f7f7f)

static inline size_t words_for(size_t pixels)
{
    return pixels / WORD + (pixels % WORD != 0);
}

/* Pixel i of `bytes` (8 of them, in memory order) becomes bit i. */
static inline unsigned pack8(const uint8_t *bytes)
{
    uint64_t eight = 0;
    for (unsigned i = 0; i < PIXELS_PER_BYTE; i++)
        eight |= (uint64_t)bytes[i] << (8 * i);
    /* The top bit of each byte: is any bit of it set? */
    uint64_t set = ((((eight & LOW7) + LOW7) | eight) >> 7) & ONES;
    /* Gathers bit 0 of byte i at bit 56 + i; the partial products never meet. */
    return (unsigned)((set * UINT64_C(0x0102040810204080)) >> 56);
}

/* The reverse, with `value` for a set bit. */
static inline void unpack8(unsigned bits, uint8_t value, uint8_t *bytes)
{
    /* Byte i keeps bit i alone, which then moves to its bit 0. */
    uint64_t one_each = (bits * ONES) & UINT64_C(0x8040201008040201);
    uint64_t eight = (((one_each + LOW7) >> 7) & ONES) * value;
    for (unsigned i = 0; i < PIXELS_PER_BYTE; i++)
        bytes[i] = (uint8_t)(eight >> (8 * i));
}

/* n pixels into words_for(n) words; the bits past the end are 0. */
static void pack(const uint8_t *pixels, size_t n, uint64_t *words)
{
    size_t full = n / WORD;
    for (size_t i = 0; i < full; i++, pixels += WORD) {
        uint64_t word = 0;
        for (unsigned j = 0; j < WORD / PIXELS_PER_BYTE; j++)
            word |= (uint64_t)pack8(pixels + PIXELS_PER_BYTE * j) << (PIXELS_PER_BYTE * j);
        words[i] = word;
    }
    if (n % WORD) {
        uint64_t word = 0;
        for (unsigned j = 0; j < n % WORD; j++)
            word |= (uint64_t)(pixels[j] != 0) << j;
        words[full] = word;
    }
}

/* n pixels out of bytes of 8 bits each. */
static void unpack(const uint8_t *bits, size_t n, uint8_t value, uint8_t *pixels)
{
    size_t full = n / PIXELS_PER_BYTE;
    for (size_t i = 0; i < full; i++)
        unpack8(bits[i], value, pixels + PIXELS_PER_BYTE * i);
    for (size_t i = full * PIXELS_PER_BYTE; i < n; i++)
        pixels[i] = ((bits[full] >> (i % PIXELS_PER_BYTE)) & 1) ? value : 0;
}

static inline unsigned count_ones(uint64_t word)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_popcountll(word);
#else
    unsigned n = 0;
    for (; word; word &= word - 1)
        n++;
    return n;
#endif
}

static inline unsigned lowest_one(uint64_t word)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(word);
#else
    return count_ones((word & (0 - word)) - 1);
#endif
}

/* ---- runs -> pixels ---- */

void km_decode_columns(const km_mask *mask, uint8_t value, uint8_t *pixels)
{
    if (km_pixels(mask) == 0)
        return; /* `pixels` may be NULL then */
    for (size_t i = 0; i < mask->n_runs; i++) {
        memset(pixels, i & 1 ? value : 0, mask->runs[i]);
        pixels += mask->runs[i];
    }
}

/* Rows are decoded in tiles of this many columns: a row's bits then fit a
 * cache line, and all rows' bits of a tile the second-level cache. */
enum { TILE = 512 };

static inline size_t tile_bytes(uint32_t width)
{
    size_t columns = width < TILE ? width : TILE;
    return (columns + PIXELS_PER_BYTE - 1) / PIXELS_PER_BYTE;
}

size_t km_decode_rows_scratch(uint32_t height, uint32_t width)
{
    return height * tile_bytes(width);
}

/* Where the walk through the runs stands. */
typedef struct {
    size_t index;         /* the run */
    uint32_t column, row; /* its first pixel */
} km_cursor;

static void step(km_cursor *cursor, uint32_t run, uint32_t height)
{
    uint64_t row = (uint64_t)cursor->row + run;
    if (row >= height) {
        cursor->column += (uint32_t)(row / height);
        row %= height;
    }
    cursor->row = (uint32_t)row;
    cursor->index++;
}

/* Marks the changes in columns left..right-1, and the columns that begin in
 * the foreground in row 0, for the columns start from nothing: a pixel's
 * colour is the parity of the changes above it and its own. */
static void mark_changes(const km_mask *mask, km_cursor *cursor, uint32_t left, uint32_t right,
                         size_t bytes, uint8_t *changes)
{
    while (cursor->index < mask->n_runs && cursor->column < right) {
        km_cursor end = *cursor;
        step(&end, mask->runs[cursor->index], mask->height);
        if (cursor->index & 1) {
            if (cursor->column >= left) {
                uint32_t at = cursor->column - left;
                changes[cursor->row * bytes + at / 8] ^= (uint8_t)(1u << at % 8);
            }
            /* Columns that the run enters from above, its last one included. */
            uint32_t first = cursor->column + 1 > left ? cursor->column + 1 : left;
            uint32_t last = end.column < right ? end.column : right - 1;
            for (uint32_t column = first; column <= last; column++)
                changes[(column - left) / 8] ^= (uint8_t)(1u << (column - left) % 8);
            if (end.column < right) {
                uint32_t at = end.column - left;
                changes[end.row * bytes + at / 8] ^= (uint8_t)(1u << at % 8);
            }
        }
        if (end.column >= right && (cursor->index & 1))
            return; /* the next tile has more of this run */
        *cursor = end;
    }
}

void km_decode_rows(const km_mask *mask, uint8_t value, uint8_t *pixels, ptrdiff_t stride,
                    uint8_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    if (height == 0 || width == 0)
        return;
    km_cursor cursor = {0, 0, 0};
    for (uint32_t left = 0; left < width;) {
        uint32_t right = width - left < TILE ? width : left + TILE;
        size_t bytes = tile_bytes(right - left);
        memset(scratch, 0, height * bytes);
        mark_changes(mask, &cursor, left, right, bytes, scratch);
        uint8_t colours[TILE / PIXELS_PER_BYTE] = {0};
        for (uint32_t y = 0; y < height; y++) {
            for (size_t i = 0; i < bytes; i++)
                colours[i] ^= scratch[y * bytes + i];
            unpack(colours, right - left, value, pixels + (ptrdiff_t)y * stride + left);
        }
        left = right;
    }
}

/* ---- pixels -> runs ---- */

/* Position of each change so far, then the gap between each and the next. */
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

size_t km_scan_columns_scratch(uint32_t height, uint32_t width)
{
    return words_for((size_t)height * width);
}

size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width, uint64_t *scratch)
{
    size_t n = (size_t)height * width, n_changes = 0;
    pack(pixels, n, scratch);
    uint64_t carry = 0; /* the pixel before the word */
    for (size_t i = 0; i < words_for(n); i++) {
        uint64_t word = scratch[i], changes = word ^ (word << 1 | carry);
        if (i == n / WORD)
            changes &= (UINT64_C(1) << n % WORD) - 1;
        carry = word >> (WORD - 1);
        scratch[i] = changes;
        n_changes += count_ones(changes);
    }
    return n_changes + 1;
}

void km_runs_columns(const uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    size_t n = (size_t)height * width, n_changes = 0;
    for (size_t i = 0; i < words_for(n); i++)
        for (uint64_t changes = scratch[i]; changes; changes &= changes - 1)
            runs[n_changes++] = (uint32_t)(i * WORD + lowest_one(changes));
    positions_to_runs(runs, n_changes, n);
}

/* The scratch of rows: the bits of each row, then one counter a column. */
size_t km_scan_rows_scratch(uint32_t height, uint32_t width)
{
    return height * words_for(width) + ((size_t)width + 1) / 2;
}

static inline uint32_t *column_counters(uint64_t *scratch, uint32_t height, uint32_t width)
{
    return (uint32_t *)(scratch + height * words_for(width));
}

/* The changes in word i of row y, against the pixels above; above row 0 is the
 * last row, one column to the left. */
static inline uint64_t row_changes(const uint64_t *bits, uint32_t height, uint32_t width,
                                   uint32_t y, size_t i)
{
    size_t words = words_for(width);
    uint64_t word = bits[y * words + i];
    if (y > 0)
        return word ^ bits[(y - 1) * words + i];
    const uint64_t *last = bits + (height - 1) * words;
    uint64_t changes = word ^ (last[i] << 1 | (i > 0 ? last[i - 1] >> (WORD - 1) : 0));
    return i == width / WORD ? changes & ((UINT64_C(1) << width % WORD) - 1) : changes;
}

size_t km_scan_rows(const uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width,
                    uint64_t *scratch)
{
    if (height == 0 || width == 0)
        return 1;
    size_t words = words_for(width), n_changes = 0;
    uint32_t *counters = column_counters(scratch, height, width);
    memset(counters, 0, width * sizeof *counters);
    for (uint32_t y = 0; y < height; y++)
        pack(pixels + (ptrdiff_t)y * stride, width, scratch + y * words);
    for (uint32_t y = 0; y < height; y++)
        for (size_t i = 0; i < words; i++) {
            uint64_t changes = row_changes(scratch, height, width, y, i);
            n_changes += count_ones(changes);
            for (; changes; changes &= changes - 1)
                counters[i * WORD + lowest_one(changes)]++;
        }
    return n_changes + 1;
}

/* A counting sort: the changes come row by row and leave column by column. */
void km_runs_rows(uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    if (height == 0 || width == 0) {
        runs[0] = 0;
        return;
    }
    size_t words = words_for(width);
    uint32_t *counters = column_counters(scratch, height, width), n_changes = 0;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t in_column = counters[x];
        counters[x] = n_changes; /* from now on: where the column's next one goes */
        n_changes += in_column;
    }
    for (uint32_t y = 0; y < height; y++)
        for (size_t i = 0; i < words; i++)
            for (uint64_t changes = row_changes(scratch, height, width, y, i); changes;
                 changes &= changes - 1) {
                size_t x = i * WORD + lowest_one(changes);
                runs[counters[x]++] = (uint32_t)(x * height + y);
            }
    positions_to_runs(runs, n_changes, (uint64_t)height * width);
}
