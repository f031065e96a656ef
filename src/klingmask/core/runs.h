/* Runs, written and walked through. */
#ifndef KLINGMASK_RUNS_H
#define KLINGMASK_RUNS_H

#include "bits.h"
#include "klingmask.h"
#include "simd/simd.h"

/* Appends runs of either colour so that what is written is canonical:
 * neighbours of one colour merge and empty runs vanish. */
typedef struct {
    uint32_t *runs;
    size_t n;
} km_writer;

/* Room is needed for one run more than will be appended. */
static inline km_writer km_writer_start(uint32_t *runs)
{
    runs[0] = 0;
    return (km_writer){runs, 1};
}

/* `colour` is 0 for background, 1 for foreground. */
static inline void km_write(km_writer *writer, unsigned colour, uint32_t length)
{
    if (length == 0)
        return;
    if (((writer->n - 1) & 1) == colour)
        writer->runs[writer->n - 1] += length;
    else
        writer->runs[writer->n++] = length;
}

/* Appends a run for each change, which ends there; the one before ended at `*end`. */
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

enum { KM_LISTED = 256 }; /* words whose changes may be listed before they become runs */

/* The same for n words, none of which is without changes. */
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

/* Several changes a word: a loop over them mispredicts its end. The objects that bench/ measures
 * have up to 1.3, in columns and in tiles, and its noisy masks 3. */
static inline bool km_is_dense(km_tally tally)
{
    return tally.changes > 2 * tally.words;
}

/* The columns with foreground: left to right - 1. There are some. */
static inline void km_columns(const km_mask *mask, uint32_t *left, uint32_t *right)
{
    uint64_t end = km_pixels(mask) - (mask->n_runs % 2 ? mask->runs[mask->n_runs - 1] : 0);
    *left = mask->runs[0] / mask->height;
    *right = (uint32_t)((end - 1) / mask->height) + 1;
}

/* A pixel on the way down the columns; row = height is the end of its column. */
typedef struct {
    uint32_t column;
    uint64_t row;
} km_pixel;

static inline void km_skip(km_pixel *pixel, uint64_t length, uint32_t height)
{
    pixel->row += length;
    if (pixel->row < height)
        return;
    pixel->row -= height; /* by far the most common: on into the next column */
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

/* Where a walk through a mask's pieces stands. */
typedef struct {
    const km_mask *mask;
    size_t next;   /* the run of foreground after this one */
    uint64_t left; /* pixels of this one that are still to come */
    km_pixel at;
} km_walk;

static inline km_walk km_walk_start(const km_mask *mask)
{
    return (km_walk){mask, 1, 0, {0, 0}};
}

/* Gives the next piece, from top to bottom and left to right; false at the end. */
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

/* How many columns the piece stands for: a few bytes can claim a run over millions of them, so
 * those that it fills from top to bottom are taken as one, and the walk goes on behind them. */
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
