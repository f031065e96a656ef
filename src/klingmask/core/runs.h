/* Runs, written and walked through. */
#ifndef KLINGMASK_RUNS_H
#define KLINGMASK_RUNS_H

#include "klingmask.h"

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

#endif
