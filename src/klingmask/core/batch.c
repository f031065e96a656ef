/* Loops over many masks: columns of numbers, stacks of images, transforms.
 *
 * A loop that may take seconds reports its work to the watch after each mask, so that the call can
 * be stopped. How images are written to memory is decided here, once for all images of a call.
 */
#include "klingmask.h"

#include <string.h>

/* ---- columns ---- */

size_t km_count_same_size(const km_mask *masks, size_t n)
{
    size_t i = 0;
    while (i < n && masks[i].height == masks->height && masks[i].width == masks->width)
        i++;
    return i;
}

bool km_equal(const km_mask *a, const km_mask *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].height != b[i].height || a[i].width != b[i].width || a[i].n_runs != b[i].n_runs ||
            memcmp(a[i].runs, b[i].runs, a[i].n_runs * sizeof *a[i].runs) != 0)
            return false;
    return true;
}

size_t km_total_runs(const km_mask *masks, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += masks[i].n_runs;
    return total;
}

size_t km_most_runs(const km_mask *masks, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = masks[i].n_runs > most ? masks[i].n_runs : most;
    return most;
}

void km_lay_out(km_mask *masks, size_t n, const uint32_t *runs)
{
    for (size_t i = 0; i < n; i++) {
        masks[i].runs = runs;
        runs += masks[i].n_runs;
    }
}

void km_pick(const km_mask *masks, const int64_t *indices, size_t n, km_mask *picked)
{
    for (size_t i = 0; i < n; i++)
        picked[i] = masks[indices[i]];
}

void km_copy(const km_mask *masks, size_t n, km_mask *copies, uint32_t *runs)
{
    for (size_t i = 0; i < n; i++) {
        copies[i] = masks[i];
        copies[i].runs = runs;
        memcpy(runs, masks[i].runs, masks[i].n_runs * sizeof *runs);
        runs += masks[i].n_runs;
    }
}

void km_sizes(const km_mask *masks, size_t n, int64_t *sizes)
{
    for (size_t i = 0; i < n; i++) {
        sizes[2 * i] = masks[i].height;
        sizes[2 * i + 1] = masks[i].width;
    }
}

bool km_areas(const km_mask *masks, size_t n, int64_t *areas, km_watch *watch)
{
    for (size_t i = 0; i < n; i++) {
        areas[i] = (int64_t)km_area(&masks[i]);
        if (km_stopped(watch, masks[i].n_runs))
            return false;
    }
    return true;
}

bool km_boxes(const km_mask *masks, size_t n, int64_t *boxes, km_watch *watch)
{
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(&masks[i]);
        int64_t row[4] = {box.x, box.y, box.width, box.height};
        memcpy(&boxes[4 * i], row, sizeof row);
        if (km_stopped(watch, masks[i].n_runs))
            return false;
    }
    return true;
}

bool km_centroids(const km_mask *masks, size_t n, double *centroids, km_watch *watch)
{
    for (size_t i = 0; i < n; i++) {
        km_centroid(&masks[i], &centroids[2 * i], &centroids[2 * i + 1]);
        if (km_stopped(watch, masks[i].n_runs))
            return false;
    }
    return true;
}

/* ---- painting ---- */

/* Measured on an AMD EPYC of the Zen 5 family, with 1 MiB of L2 cache a core and 32 MiB of L3. */
enum {
    /* Up to half of the L2 cache: what fits there is cleared fastest with plain stores. */
    L2_BYTES = 512 << 10,
    /* About three quarters of the L3 cache. What is larger is written past the caches: 33 MB take
     * 120 microseconds a mask of 2160 x 3840 instead of 163. The two ways meet at 29 MB. */
    PAST_CACHES_FROM_BYTES = 24 << 20
};

static km_destination destination_of(const km_painting *how)
{
    if (how->bytes <= L2_BYTES)
        return KM_TO_L2;
    /* The system brings new pages into the caches when it clears them. */
    return how->bytes >= PAST_CACHES_FROM_BYTES && !how->zeroed ? KM_TO_MEMORY : KM_TO_L3;
}

size_t km_paint_scratch(const km_stack *stack)
{
    if (stack->columns || stack->n == 0 || stack->height == 0 || stack->width == 0)
        return 0;
    return km_decode_rows_scratch(stack->height, stack->width);
}

static void paint_one(const km_painting *how, km_destination destination, const km_mask *mask,
                      const km_stack *stack, uint8_t *pixels, uint64_t *scratch)
{
    if (stack->columns)
        km_decode_columns(mask, how->value, how->zeroed, destination, pixels);
    else
        km_decode_rows(mask, how->value, how->zeroed, destination, pixels, stack->stride, scratch);
}

/* A vector writes 32 or 64 pixels in about a nanosecond. */
static uint64_t work_of_painting(const km_mask *mask)
{
    return mask->n_runs + km_pixels(mask) / 32;
}

bool km_paint(const km_painting *how, const km_mask *masks, const km_stack *stack,
              uint64_t *scratch, km_watch *watch)
{
    km_destination destination = destination_of(how);
    uint8_t *pixels = stack->pixels;
    for (size_t i = 0; i < stack->n; i++, pixels += stack->step) {
        paint_one(how, destination, &masks[i], stack, pixels, scratch);
        if (km_stopped(watch, work_of_painting(&masks[i])))
            return false;
    }
    return true;
}

bool km_paint_rles(const km_painting *how, const km_rle *rles, bool strict, const km_stack *stack,
                   uint32_t *runs, uint64_t *scratch, km_failure *failure, km_watch *watch)
{
    km_destination destination = destination_of(how);
    uint8_t *pixels = stack->pixels;
    for (size_t i = 0; i < stack->n; i++, pixels += stack->step) {
        km_mask mask;
        uint64_t area;
        if (!km_read(&rles[i], strict, runs, &mask, &area, failure)) {
            failure->index = i;
            return false;
        }
        paint_one(how, destination, &mask, stack, pixels, scratch);
        if (km_stopped(watch, work_of_painting(&mask))) {
            failure->fault = KM_STOPPED;
            return false;
        }
    }
    return true;
}

/* ---- encoding ---- */

size_t km_encode_scratch(const km_stack *stack)
{
    return stack->columns ? km_scan_columns_scratch(stack->height, stack->width)
                          : km_scan_rows_scratch(stack->height, stack->width);
}

km_progress km_encode(const km_stack *stack, uint64_t *scratch, km_position *position,
                      uint32_t *runs, size_t capacity, km_mask *masks, km_watch *watch)
{
    uint32_t height = stack->height, width = stack->width;
    for (; position->next < stack->n; position->next++) {
        const uint8_t *pixels = stack->pixels + (ptrdiff_t)position->next * stack->step;
        if (position->room == 0) /* the scratch does not hold this image yet */
            position->room = stack->columns
                                 ? km_scan_columns(pixels, height, width, scratch)
                                 : km_scan_rows(pixels, stack->stride, height, width, scratch);
        size_t n_runs = (size_t)position->room;
        if (n_runs > capacity - position->used)
            return KM_NEEDS_ROOM;
        if (stack->columns)
            km_runs_columns(scratch, height, width, runs + position->used);
        else
            km_runs_rows(scratch, height, width, runs + position->used);
        masks[position->next] = (km_mask){.n_runs = n_runs, .height = height, .width = width};
        position->used += n_runs;
        position->room = 0;
        if (km_stopped(watch, n_runs + (uint64_t)height * width / 32))
            return KM_WAS_STOPPED;
    }
    return KM_DONE;
}

/* ---- one mask of each ---- */

km_progress km_transform_all(const km_transform *transform, const km_mask *masks, size_t n,
                             uint32_t *scratch, km_position *position, uint32_t *runs,
                             size_t capacity, km_mask *results, km_watch *watch)
{
    for (; position->next < n; position->next++) {
        const km_mask *mask = &masks[position->next];
        km_mask *result = &results[position->next];
        if (!km_transform_size(transform, mask, &result->height, &result->width))
            return KM_TOO_LARGE;
        if (position->room == 0)
            position->room = km_transform_capacity(transform, mask, scratch);
        if (position->room > capacity - position->used)
            return KM_NEEDS_ROOM;
        result->n_runs = km_transform_mask(transform, mask, runs + position->used, scratch);
        position->used += result->n_runs;
        position->room = 0;
        if (km_stopped(watch, mask->n_runs + result->n_runs))
            return KM_WAS_STOPPED;
    }
    return KM_DONE;
}

/* ---- one mask of each pair ---- */

static km_mask left_of(const km_pairs *pairs, size_t i)
{
    return pairs->a[pairs->n_a == 1 ? 0 : i];
}

static km_mask right_of(const km_pairs *pairs, size_t i)
{
    return pairs->b[pairs->n_b == 1 ? 0 : i];
}

size_t km_count_pairs(const km_pairs *pairs)
{
    return pairs->n_a == 1 ? pairs->n_b : pairs->n_a;
}

size_t km_count_same_size_pairs(const km_pairs *pairs)
{
    size_t i = 0, n = km_count_pairs(pairs);
    for (; i < n; i++) {
        km_mask pair[2] = {left_of(pairs, i), right_of(pairs, i)};
        if (km_count_same_size(pair, 2) < 2)
            break;
    }
    return i;
}

size_t km_runs_of_pairs(const km_pairs *pairs)
{
    size_t total = 0;
    for (size_t i = 0; i < km_count_pairs(pairs); i++)
        total += left_of(pairs, i).n_runs + right_of(pairs, i).n_runs;
    return total;
}

bool km_combine_pairs(km_operation operation, const km_pairs *pairs, uint32_t *runs,
                      km_mask *results, size_t *n_runs, km_watch *watch)
{
    uint32_t *next = runs;
    for (size_t i = 0; i < km_count_pairs(pairs); i++) {
        km_mask a = left_of(pairs, i), b = right_of(pairs, i);
        results[i] = a;
        results[i].n_runs = km_combine(operation, &a, &b, next);
        next += results[i].n_runs;
        if (km_stopped(watch, a.n_runs + b.n_runs))
            return false;
    }
    *n_runs = (size_t)(next - runs);
    return true;
}
