/* How runs are written, from lengths or from changes, and how a mask's runs are walked through. */
#ifndef KLINGMASK_RUNS_H
#define KLINGMASK_RUNS_H

#include "bits.h"
#include "klingmask.h"
#include "simd/simd.h"

/* Runs written so far, always canonical: adjacent runs of one kind are merged, empty runs left out.
 */
typedef struct {
    uint32_t *runs;
    size_t n;
} km_writer;

/* `runs` has room for one run more than are appended. */
static inline km_writer km_writer_start(uint32_t *runs)
{
    runs[0] = 0;
    return (km_writer){runs, 1};
}

/* Appends a run of background (`foreground` is 0) or of foreground (1). */
static inline void km_write(km_writer *writer, unsigned foreground, uint32_t length)
{
    if (length == 0)
        return;
    if (((writer->n - 1) & 1) == foreground)
        writer->runs[writer->n - 1] += length;
    else
        writer->runs[writer->n++] = length;
}

/* Writes one run for each change; the run ends at that change. The first starts at `*end`, which is
 * then set to the end of the last. Returns where the next run goes. */
static inline uint32_t *km_write_ends(km_changes changes, uint32_t *end, uint32_t *runs)
{
    uint32_t before = *end;
    for (; changes.bits; changes.bits &= changes.bits - 1) {
        uint32_t position = changes.first + km_lowest_one(changes.bits);
        *runs++ = position - before;
        before = position;
    }
    *end = before;
    return runs;
}

/* Number of words listed before they become runs; the list fits the L1 cache. */
enum { KM_LIST_WORDS = 256 };

/* The same for n words with changes in each. */
static inline uint32_t *km_write_runs(const km_changes *listed, size_t n, bool dense, uint32_t *end,
                                      uint32_t *runs)
{
    if (dense && n > 0) {
        runs = km_simd.write_dense(listed, n, *end, runs);
        *end = listed[n - 1].first + km_bit_length(listed[n - 1].bits) - 1;
        return runs;
    }
    for (size_t i = 0; i < n; i++)
        runs = km_write_ends(listed[i], end, runs);
    return runs;
}

/* Whether a word has so many changes on average that the kernel write_dense is faster than
 * km_write_ends, whose loop has an end that is often mispredicted. Of the masks in bench/, objects
 * have up to 1.3 changes a word, in columns and in tiles, and noisy masks 3. */
static inline bool km_is_dense(km_tally tally)
{
    return tally.changes > 2 * tally.words;
}

/* The columns from the first foreground to the last: left to right - 1. The mask is not empty. */
static inline void km_columns(const km_mask *mask, uint32_t *left, uint32_t *right)
{
    uint64_t end = km_pixels(mask) - (mask->n_runs % 2 ? mask->runs[mask->n_runs - 1] : 0);
    *left = mask->runs[0] / mask->height;
    *right = (uint32_t)((end - 1) / mask->height) + 1;
}

/* A place in column-major order. A row that equals the height is the end of the column. */
typedef struct {
    uint32_t column;
    uint64_t row;
} km_pixel;

static inline void km_skip(km_pixel *pixel, uint64_t length, uint32_t height)
{
    pixel->row += length;
    if (pixel->row < height)
        return;
    pixel->row -= height; /* the next column is by far the most common: a division is slow */
    pixel->column++;
    if (pixel->row < height)
        return;
    pixel->column += (uint32_t)(pixel->row / height);
    pixel->row %= height;
}

/* The part of a run of foreground that lies in one column: rows first to end - 1. */
typedef struct {
    uint32_t column, first, end;
} km_piece;

/* A walk through the pieces of a mask. */
typedef struct {
    const km_mask *mask;
    size_t next;   /* index of the next run of foreground */
    uint64_t left; /* pixels of the current run that are still to come */
    km_pixel at;
} km_walk;

static inline km_walk km_walk_start(const km_mask *mask)
{
    return (km_walk){mask, 1, 0, {0, 0}};
}

/* Sets `*piece` to the next one, down the columns, from left to right. Returns false at the end. */
static inline bool km_walk_on(km_walk *walk, km_piece *piece)
{
    uint32_t height = walk->mask->height;
    if (walk->left == 0) {
        if (walk->next >= walk->mask->n_runs)
            return false;
        km_skip(&walk->at, walk->mask->runs[walk->next - 1], height);
        walk->left = walk->mask->runs[walk->next];
        walk->next += 2;
    }
    uint64_t end = walk->at.row + walk->left;
    end = end < height ? end : height;
    *piece = (km_piece){walk->at.column, (uint32_t)walk->at.row, (uint32_t)end};
    walk->left -= end - walk->at.row;
    walk->at.row = end;
    if (walk->left > 0)
        walk->at = (km_pixel){walk->at.column + 1, 0};
    return true;
}

/* If a piece fills a column, returns the number of full columns of its run from there on, and moves
 * the walk past them. Otherwise returns 1. A few bytes of text can claim a run over millions of
 * columns, so callers must not visit each. */
static inline uint32_t km_walk_whole_columns(km_walk *walk, const km_piece *piece)
{
    uint32_t height = walk->mask->height;
    if (piece->first > 0 || piece->end < height)
        return 1;
    uint32_t more = (uint32_t)(walk->left / height);
    walk->left -= (uint64_t)more * height;
    walk->at.column += more;
    return 1 + more;
}

#endif
