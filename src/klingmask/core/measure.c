/* Numbers about masks, straight from the runs: area, bounding box,
 * intersection over union, a point's colour. */
#include "klingmask.h"
#include "writer.h"

uint64_t km_area(const km_mask *mask)
{
    uint64_t area = 0;
    for (size_t i = 1; i < mask->n_runs; i += 2)
        area += mask->runs[i];
    return area;
}

km_box km_bounding_box(const km_mask *mask)
{
    uint32_t height = mask->height;
    uint64_t position = 0;
    uint32_t left = 0, right = 0, top = UINT32_MAX, bottom = 0;
    if (mask->n_runs < 2)
        return (km_box){0, 0, 0, 0};
    /* The column of `position` and its first pixel, moved along with it: a
     * division only where a run leaves its column. */
    uint32_t column = 0;
    uint64_t column_start = 0;
    for (size_t i = 0; i < mask->n_runs; i++) {
        uint64_t end = position + mask->runs[i];
        if (i & 1) {
            uint32_t first = (uint32_t)(position - column_start);
            uint64_t last = end - 1 - column_start;
            if (i == 1)
                left = column;
            if (last < height) {
                top = first < top ? first : top;
                bottom = last > bottom ? (uint32_t)last : bottom;
                right = column;
            } else { /* on into the next column: touches its top and this one's bottom */
                top = 0;
                bottom = height - 1;
                right = (uint32_t)((end - 1) / height);
            }
        }
        position = end;
        if (position - column_start >= height) {
            column = (uint32_t)(position / height);
            column_start = (uint64_t)column * height;
        }
    }
    return (km_box){left, top, right - left + 1, bottom - top + 1};
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

void km_measure(const km_mask *masks, size_t n, km_measures *measures)
{
    for (size_t i = 0; i < n; i++)
        measures[i] = (km_measures){km_area(&masks[i]), km_bounding_box(&masks[i])};
}

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

void km_iou(const km_mask *a, const km_measures *measures_a, size_t n_a, const km_mask *b,
            const km_measures *measures_b, size_t n_b, double *iou)
{
    for (size_t i = 0; i < n_a; i++)
        for (size_t j = 0; j < n_b; j++) {
            const km_measures *of_a = &measures_a[i], *of_b = &measures_b[j];
            uint64_t shared = 0;
            if (boxes_meet(of_a->box, of_b->box))
                shared = intersection_area(&a[i], &b[j]);
            uint64_t together = of_a->area + of_b->area - shared;
            *iou++ = together > 0 ? (double)shared / (double)together : 0.0;
        }
}
