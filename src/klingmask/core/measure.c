/* Measures of a mask: area, bounding box, centroid, whether it contains a point. All are computed
 * from the runs. */
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

uint64_t km_area(const km_mask *mask)
{
    uint64_t area = 0;
    for (size_t i = 1; i < mask->n_runs; i += 2)
        area += mask->runs[i];
    return area;
}

/* Same result as the row_range kernel, computed run by run, for images of any size. */
static void row_range_by_runs(km_row_range *range)
{
    const uint32_t *runs = range->runs, *runs_end = runs + 2 * range->pairs;
    uint64_t end = 0;
    for (; runs < runs_end && end <= range->height; runs += 2) {
        uint64_t row = end + runs[0];
        if (row >= range->height) {
            row -= range->height; /* nearly always enough: a division is slow */
            if (row >= range->height)
                row %= range->height;
        }
        end = row + runs[1];
        range->top = row < range->top ? row : range->top;
        range->bottom = end > range->bottom ? end : range->bottom;
    }
}

km_box km_bounds(const km_mask *mask)
{
    uint32_t left, right;
    km_row_range range = {mask->runs, mask->n_runs / 2, mask->height, mask->height, 0};
    if (range.pairs == 0)
        return (km_box){0, 0, 0, 0};
    km_columns(mask, &left, &right);
    bool kernel = km_simd.row_range && km_pixels(mask) < UINT64_C(1) << 31 && mask->width < 1 << 20;
    (kernel ? km_simd.row_range : row_range_by_runs)(&range);
    /* If a run goes on in the next column, the box has all rows. */
    if (range.bottom > mask->height)
        range = (km_row_range){.top = 0, .bottom = mask->height};
    return (km_box){left, (uint32_t)range.top, right - left, (uint32_t)(range.bottom - range.top)};
}

void km_centroid(const km_mask *mask, double *x, double *y)
{
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    double area = (double)km_area(mask), sum_x = 0, sum_y = 0;
    while (km_walk_on(&walk, &piece)) {
        double columns = km_walk_whole_columns(&walk, &piece);
        double pixels = columns * (piece.end - piece.first);
        sum_x += pixels * (piece.column + 0.5 * columns);
        sum_y += pixels * (0.5 * piece.first + 0.5 * piece.end);
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

bool km_measure(const km_rle *rles, size_t n, uint32_t *runs, int64_t *areas, int64_t *boxes,
                km_failure *failure, km_watch *watch)
{
    for (size_t i = 0; i < n; i++) {
        km_mask mask;
        uint64_t area;
        if (!km_read(&rles[i], true, runs, &mask, &area, failure)) {
            failure->index = i;
            return false;
        }
        if (areas)
            areas[i] = (int64_t)area;
        if (boxes) {
            km_box box = km_bounds(&mask);
            int64_t numbers[4] = {box.x, box.y, box.width, box.height};
            memcpy(&boxes[4 * i], numbers, sizeof numbers);
        }
        if (km_stopped(watch, rles[i].length)) {
            failure->fault = KM_STOPPED;
            return false;
        }
    }
    return true;
}
