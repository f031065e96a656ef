/* counts text <-> runs, with the exact place of any error.
 *
 * The text is that of the COCO data set: each run is a little-endian sequence
 * of 5-bit groups, one a character. A character is 48 + group, plus 32 while
 * more groups follow; the number is sign-extended from the last group's top
 * bit. From the fourth run on, the number is the difference to the run two
 * before.
 */
#include "codes.h"
#include "klingmask.h"
#include "runs.h"
#include "simd.h"

enum { FIRST_DELTA = 3 }; /* index of the first run stored as a difference */

static bool fail(km_failure *failure, km_fault fault, size_t position, int64_t value)
{
    failure->fault = fault;
    failure->position = position;
    failure->value = value;
    return false;
}

/* Closes the runs, which add up to `sum` so far, at the end of the image. */
static bool finish(const km_source *source, uint64_t sum, bool strict, km_writer *writer,
                   km_failure *failure)
{
    uint64_t pixels = (uint64_t)source->height * source->width;
    if (sum < pixels) {
        if (strict)
            return fail(failure, KM_SHORT, source->length, (int64_t)sum);
        km_write(writer, 0, (uint32_t)(pixels - sum));
    }
    return true;
}

/* Lets the vectors read on from the state of read_text, as far as they can.
 * Returns false if what they met is for the plain way to judge, from the start. */
static bool read_vectors(const char *end, uint64_t pixels, const char **at, uint64_t *sum,
                         km_writer *writer)
{
    km_codes codes = {*at, end, writer->runs + writer->n, *sum, false};
    km_simd.read_codes(&codes);
    if (codes.odd || codes.sum > pixels)
        return false;
    *at = codes.at;
    *sum = codes.sum;
    writer->n = (size_t)(codes.runs - writer->runs);
    return true;
}

static bool read_text(const km_source *source, bool strict, bool vectors, km_writer *writer,
                      km_failure *failure)
{
    const char *text = source->chars, *text_end = text + source->length, *at = text;
    uint64_t pixels = (uint64_t)source->height * source->width, sum = 0;
    int64_t last = 0, before_last = 0; /* as read, not as merged */
    size_t index = 0;
    while (at < text_end) {
        if (vectors && index >= FIRST_DELTA && writer->n == index) {
            if (!read_vectors(text_end, pixels, &at, &sum, writer)) {
                *writer = km_writer_start(writer->runs);
                return read_text(source, strict, false, writer, failure);
            }
            index = writer->n;
            last = writer->runs[index - 1];
            before_last = writer->runs[index - 2];
            if (at == text_end)
                break;
        }
        const char *start = at;
        int64_t number = 0;
        unsigned groups = 0, group;
        do {
            if (at == text_end)
                return fail(failure, KM_CUT_CODE, (size_t)(start - text), 0);
            unsigned char character = (unsigned char)*at;
            group = (unsigned)character - KM_OFFSET;
            if (group > (KM_MORE | KM_GROUP))
                return fail(failure, KM_BAD_CHARACTER, (size_t)(at - text), character);
            if (groups == KM_MAX_GROUPS)
                return fail(failure, KM_LONG_CODE, (size_t)(start - text), 0);
            number |= (int64_t)(group & KM_GROUP) << (KM_GROUP_BITS * groups++);
            at++;
        } while (group & KM_MORE);
        if (group & KM_SIGN)
            number -= INT64_C(1) << (KM_GROUP_BITS * groups);
        if (strict && groups > 1) {
            /* The last group says nothing if it only repeats the sign before it. */
            unsigned sign = (unsigned)(unsigned char)at[-2] - KM_OFFSET;
            if (group == ((sign & KM_SIGN) ? (unsigned)KM_GROUP : 0u))
                return fail(failure, KM_LONG_CODE, (size_t)(start - text), 0);
        }
        int64_t run = number + (index >= FIRST_DELTA ? before_last : 0);
        if (run < 0)
            return fail(failure, KM_NEGATIVE_RUN, (size_t)(start - text), run);
        if ((uint64_t)run > pixels - sum)
            return fail(failure, KM_OVERSHOOT, (size_t)(start - text), (int64_t)sum + run);
        sum += (uint64_t)run;
        km_write(writer, index & 1, (uint32_t)run);
        before_last = last;
        last = run;
        index++;
    }
    return finish(source, sum, strict, writer, failure);
}

static bool read_lengths(const km_source *source, bool strict, km_writer *writer,
                         km_failure *failure)
{
    uint64_t pixels = (uint64_t)source->height * source->width, sum = 0;
    for (size_t i = 0; i < source->length; i++) {
        uint32_t run = source->lengths[i];
        if (run > pixels - sum)
            return fail(failure, KM_OVERSHOOT, i, (int64_t)(sum + run));
        sum += run;
        km_write(writer, i & 1, run);
    }
    return finish(source, sum, strict, writer, failure);
}

bool km_read(const km_source *sources, size_t n, bool strict, uint32_t *runs, size_t *n_runs,
             km_mask *masks, km_failure *failure)
{
    uint32_t *next = runs;
    for (size_t i = 0; i < n; i++) {
        const km_source *source = &sources[i];
        km_writer writer = km_writer_start(next);
        bool vectors = km_simd.read_codes && (uint64_t)source->height * source->width < 1 << 30;
        bool fine = source->chars ? read_text(source, strict, vectors, &writer, failure)
                                  : read_lengths(source, strict, &writer, failure);
        if (!fine) {
            failure->source = i;
            return false;
        }
        masks[i] = (km_mask){next, writer.n, source->height, source->width};
        next += writer.n;
    }
    *n_runs = (size_t)(next - runs);
    return true;
}

void km_lay_out(km_mask *masks, size_t n, const uint32_t *runs)
{
    for (size_t i = 0; i < n; i++) {
        masks[i].runs = runs;
        runs += masks[i].n_runs;
    }
}

size_t km_format(const uint32_t *runs, size_t n_runs, char *text)
{
    char *next = text;
    size_t i = 0;
    for (; i < n_runs && i < FIRST_DELTA; i++)
        next = km_write_code(runs[i], next);
    if (i < n_runs)
        next = km_simd.write_codes(runs + i, n_runs - i, next);
    return (size_t)(next - text);
}
