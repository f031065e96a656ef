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
#include "simd/simd.h"

static bool fail(km_failure *failure, km_fault fault, size_t position, int64_t value)
{
    *failure = (km_failure){fault, 0, position, value};
    return false;
}

/* Runs as they are read. */
typedef struct {
    km_writer writer;
    uint64_t sums[2]; /* of background and of foreground */
} km_reader;

static inline km_reader reader_start(uint32_t *runs)
{
    return (km_reader){km_writer_start(runs), {0, 0}};
}

static inline uint64_t pixels_read(const km_reader *reader)
{
    return reader->sums[0] + reader->sums[1];
}

static inline void add_run(km_reader *reader, unsigned colour, uint32_t run)
{
    km_write(&reader->writer, colour, run);
    reader->sums[colour] += run;
}

/* Closes the runs at the end of the image. */
static bool finish(const km_source *source, bool strict, km_reader *reader, km_failure *failure)
{
    uint64_t pixels = (uint64_t)source->height * source->width, sum = pixels_read(reader);
    if (sum < pixels) {
        if (strict)
            return fail(failure, KM_SHORT, source->length, (int64_t)sum);
        add_run(reader, 0, (uint32_t)(pixels - sum));
    }
    return true;
}

/* Lets the vectors read on from the state of read_text, as far as they can. The next two
 * numbers are differences to `before`. Returns false if what they met is for the plain way
 * to judge, from the start. */
static bool read_vectors(const km_source *source, uint32_t before[2], const char **at,
                         km_reader *reader)
{
    km_writer *writer = &reader->writer;
    unsigned colour = writer->n & 1;
    km_codes codes = {source->chars,
                      *at,
                      source->chars + source->length,
                      writer->runs + writer->n,
                      {before[0], before[1]},
                      {0, 0},
                      false};
    km_simd.read_codes(&codes);
    writer->n = (size_t)(codes.runs - writer->runs);
    reader->sums[colour] += codes.sums[0];
    reader->sums[!colour] += codes.sums[1];
    *at = codes.at;
    return !codes.malformed && pixels_read(reader) <= (uint64_t)source->height * source->width;
}

/* Whether so many groups would do for the number. */
static inline bool fits(int64_t number, unsigned groups)
{
    uint64_t sign = ~((uint64_t)number >> 63) + 1;
    return ((uint64_t)number ^ sign) << 1 >> (KM_GROUP_BITS * groups) == 0;
}

/* Reads a code where eight characters can be looked at, and without a loop, for how many it
 * has is anybody's guess. Returns their number, or 0 if it is for the loop to judge. */
static inline unsigned read_at_once(const char *at, int64_t *number)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    /* What a character too low borrows, it takes from those after it. */
    uint64_t groups = km_load_bytes(at) - each * KM_OFFSET;
    uint64_t last = ~groups & each * KM_MORE;
    if (last == 0)
        return 0;
    unsigned n = km_lowest_one(last) / 8 + 1;
    groups &= km_range(0, 8 * n);
    if (n > KM_MAX_GROUPS || (groups & each * (0xff & ~(KM_MORE | KM_GROUP))))
        return 0;
    /* Groups become pairs, fours, and one number, whose top bit is the sign. */
    groups &= each * KM_GROUP;
    groups = (groups & UINT64_C(0x001f001f001f001f)) | (groups & UINT64_C(0x1f001f001f001f00)) >> 3;
    groups = (groups & UINT64_C(0x000003ff000003ff)) | (groups & UINT64_C(0x03ff000003ff0000)) >> 6;
    groups =
        (groups & UINT64_C(0x00000000000fffff)) | (groups & UINT64_C(0x000fffff00000000)) >> 12;
    uint64_t sign = UINT64_C(1) << (KM_GROUP_BITS * n - 1);
    *number = (int64_t)((groups ^ sign) - sign);
    return n;
}

enum { FEW = 4 }; /* runs that vectors are not worth starting for, and in vain so often */

static bool read_text(const km_source *source, bool strict, bool vectors, km_reader *reader,
                      km_failure *failure)
{
    const char *text = source->chars, *text_end = text + source->length, *at = text;
    uint64_t pixels = (uint64_t)source->height * source->width;
    uint32_t before[2] = {0, 0}; /* what the next two numbers add to; as read, not merged */
    size_t index = 0, vectors_from = 0, in_vain = 0;
    while (at < text_end) {
        km_writer *writer = &reader->writer;
        /* They look two characters back, and at runs that were not merged. */
        if (vectors && index >= vectors_from && at - text >= 2 && writer->n == index) {
            if (!read_vectors(source, before, &at, reader)) {
                *reader = reader_start(writer->runs);
                return read_text(source, strict, false, reader, failure);
            }
            if (at == text_end)
                break;
            in_vain = writer->n - index < FEW ? in_vain + 1 : 0;
            if (in_vain == FEW) { /* there is a long code every now and then */
                in_vain = 0;
                vectors_from = writer->n + 8 * FEW;
            }
            index = writer->n;
            before[0] = index > 2 ? writer->runs[index - 2] : 0;
            before[1] = index > 1 ? writer->runs[index - 1] : 0;
        }
        const char *start = at;
        int64_t number = 0;
        unsigned groups = text_end - at >= 8 ? read_at_once(at, &number) : 0;
        at += groups;
        if (groups == 0) {
            unsigned group;
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
        }
        if (strict && (groups > 1) & fits(number, groups - 1))
            return fail(failure, KM_LONG_CODE, (size_t)(start - text), 0);
        int64_t run = number + before[0];
        if (run < 0)
            return fail(failure, KM_NEGATIVE_RUN, (size_t)(start - text), run);
        if ((uint64_t)run > pixels - pixels_read(reader))
            return fail(failure, KM_OVERSHOOT, (size_t)(start - text),
                        (int64_t)pixels_read(reader) + run);
        add_run(reader, index & 1, (uint32_t)run);
        before[0] = before[1];
        before[1] = index > 0 ? (uint32_t)run : 0; /* never to the first */
        index++;
    }
    return finish(source, strict, reader, failure);
}

static bool read_lengths(const km_source *source, bool strict, km_reader *reader,
                         km_failure *failure)
{
    uint64_t pixels = (uint64_t)source->height * source->width;
    for (size_t i = 0; i < source->length; i++) {
        uint32_t run = source->lengths[i];
        if (run > pixels - pixels_read(reader))
            return fail(failure, KM_OVERSHOOT, i, (int64_t)(pixels_read(reader) + run));
        add_run(reader, i & 1, run);
    }
    return finish(source, strict, reader, failure);
}

bool km_read(const km_source *source, bool strict, uint32_t *runs, km_mask *mask, uint64_t *area,
             km_failure *failure)
{
    km_reader reader = reader_start(runs);
    bool vectors = km_simd.read_codes && (uint64_t)source->height * source->width < 1 << 30;
    bool fine = source->chars ? read_text(source, strict, vectors, &reader, failure)
                              : read_lengths(source, strict, &reader, failure);
    *mask = (km_mask){runs, reader.writer.n, source->height, source->width};
    *area = reader.sums[1];
    return fine;
}

km_batch km_survey(const km_source *sources, size_t n)
{
    km_batch batch = {0, 0, n};
    for (size_t i = n; i-- > 0;) {
        size_t capacity = km_read_capacity(&sources[i]);
        batch.total += capacity;
        batch.largest = capacity > batch.largest ? capacity : batch.largest;
        if (sources[i].height != sources->height || sources[i].width != sources->width)
            batch.same = i;
    }
    return batch;
}

bool km_read_all(const km_source *sources, size_t n, bool strict, uint32_t *runs, size_t *n_runs,
                 km_mask *masks, km_failure *failure)
{
    uint32_t *next = runs;
    for (size_t i = 0; i < n; i++) {
        uint64_t area;
        if (!km_read(&sources[i], strict, next, &masks[i], &area, failure)) {
            failure->source = i;
            return false;
        }
        next += masks[i].n_runs;
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

enum { FIRST_DELTA = 3 }; /* index of the first run stored as a difference */

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
