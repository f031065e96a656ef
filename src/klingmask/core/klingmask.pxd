# The face of the core for Cython; klingmask.h says what each of these does.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>" nogil:
    # As a value a bint does; its address, or the type of a function, has to be the C type.
    ctypedef bint c_bool "bool"


cdef extern from "klingmask.h" nogil:
    ctypedef struct km_mask:
        const uint32_t *runs
        size_t n_runs
        uint32_t height
        uint32_t width

    uint64_t km_pixels(const km_mask *mask)

    uint64_t KM_WATCH_WORK

    ctypedef struct km_watch:
        c_bool (*stop)(void *context) noexcept nogil
        void *context
        uint64_t left

    # counts.c
    ctypedef enum km_fault:
        KM_BAD_CHARACTER
        KM_CUT_CODE
        KM_LONG_CODE
        KM_NEGATIVE_RUN
        KM_OVERSHOOT
        KM_SHORT
        KM_STOPPED

    ctypedef struct km_rle:
        const char *chars
        const uint32_t *lengths
        size_t length
        uint32_t height
        uint32_t width

    ctypedef struct km_failure:
        km_fault fault
        size_t index
        size_t position
        int64_t value

    ctypedef struct km_batch:
        size_t total
        size_t largest
        size_t same

    size_t KM_READ_SLACK

    size_t km_read_capacity(const km_rle *rle)
    km_batch km_survey(const km_rle *rles, size_t n)
    bint km_read(const km_rle *rle, bint strict, uint32_t *runs, km_mask *mask,
                 uint64_t *area, km_failure *failure)
    bint km_read_all(const km_rle *rles, size_t n, bint strict, uint32_t *runs,
                     size_t *n_runs, km_mask *masks, km_failure *failure, km_watch *watch)
    size_t km_format_capacity(size_t n_runs)
    size_t km_format(const uint32_t *runs, size_t n_runs, char *text)

    # setops.c
    ctypedef enum km_operation:
        KM_INTERSECTION
        KM_DIFFERENCE
        KM_SYMMETRIC_DIFFERENCE
        KM_UNION

    size_t km_combine(km_operation operation, const km_mask *a, const km_mask *b, uint32_t *runs)
    size_t km_combine_all_scratch(const km_mask *masks, size_t n)
    size_t km_combine_all(km_operation operation, const km_mask *masks, size_t n, uint32_t *runs,
                          uint64_t *scratch, km_watch *watch)

    # votes.c
    size_t km_plurality_scratch(const km_mask *masks, size_t n, uint32_t n_groups)
    size_t km_plurality_capacity(const km_mask *masks, size_t n, uint32_t n_groups)
    bint km_plurality(const km_mask *masks, const uint32_t *groups, size_t n, uint32_t n_groups,
                      uint32_t *runs, km_mask *winners, uint64_t *scratch, km_watch *watch)

    # transform.c
    ctypedef struct km_box:
        uint32_t x
        uint32_t y
        uint32_t width
        uint32_t height

    uint64_t km_box_capacity(km_box box, uint32_t height)
    size_t km_box_runs(km_box box, uint32_t height, uint32_t width, uint32_t *runs)

    enum:
        KM_FRAME
        KM_FLIP_ROWS
        KM_FLIP_COLUMNS
        KM_RESIZE
        KM_COMPLEMENT

    ctypedef struct km_transform:
        int kind
        int64_t x
        int64_t y
        int64_t height
        int64_t width
        bint added
        bint centers

    # blend.c
    ctypedef struct km_layer:
        const km_mask *mask
        uint8_t[4] color
        uint8_t opacity
        uint32_t outline

    size_t km_blend_scratch(const km_layer *layers, size_t n)
    bint km_blend(const km_layer *layers, size_t n, unsigned channels, uint8_t *pixels,
                  ptrdiff_t stride, uint64_t *scratch, size_t words, km_watch *watch)
    size_t km_render_scratch(const km_mask *mask)
    void km_render(const km_mask *mask, const uint8_t *color, uint8_t *pixels, uint64_t *scratch)

    # measure.c
    bint km_contains(const km_mask *mask, uint32_t x, uint32_t y)
    uint64_t km_area(const km_mask *mask)
    km_box km_bounds(const km_mask *mask)
    bint km_measure(const km_rle *rles, size_t n, uint32_t *runs, int64_t *areas,
                    int64_t *boxes, km_failure *failure, km_watch *watch)

    # iou.c
    ctypedef struct km_iou_mask:
        pass

    size_t km_iou_prepare(const km_mask *a, size_t n_a, const km_mask *b, size_t n_b,
                          km_iou_mask *prepared)
    bint km_iou(km_iou_mask *prepared, size_t n_a, size_t n_b, uint64_t *scratch, double *iou,
                km_watch *watch)

    # batch.c
    size_t km_count_same_size(const km_mask *masks, size_t n)
    bint km_equal(const km_mask *a, const km_mask *b, size_t n)
    size_t km_total_runs(const km_mask *masks, size_t n)
    size_t km_most_runs(const km_mask *masks, size_t n)
    void km_lay_out(km_mask *masks, size_t n, const uint32_t *runs)
    void km_pick(const km_mask *masks, const int64_t *indices, size_t n, km_mask *picked)
    void km_copy(const km_mask *masks, size_t n, km_mask *copies, uint32_t *runs)
    void km_sizes(const km_mask *masks, size_t n, int64_t *sizes)
    bint km_areas(const km_mask *masks, size_t n, int64_t *areas, km_watch *watch)
    bint km_boxes(const km_mask *masks, size_t n, int64_t *boxes, km_watch *watch)
    bint km_centroids(const km_mask *masks, size_t n, double *centroids, km_watch *watch)

    ctypedef struct km_stack:
        uint8_t *pixels
        size_t n
        ptrdiff_t step
        ptrdiff_t stride
        bint columns
        uint32_t height
        uint32_t width

    ctypedef struct km_painting:
        uint8_t value
        c_bool zeroed
        uint64_t bytes

    size_t km_paint_scratch(const km_stack *stack)
    bint km_paint(const km_painting *how, const km_mask *masks, const km_stack *stack,
                  uint64_t *scratch, km_watch *watch)
    bint km_paint_rles(const km_painting *how, const km_rle *rles, bint strict,
                       const km_stack *stack, uint32_t *runs, uint64_t *scratch,
                       km_failure *failure, km_watch *watch)

    ctypedef enum km_progress:
        KM_DONE
        KM_NEEDS_ROOM
        KM_WAS_STOPPED
        KM_TOO_LARGE

    ctypedef struct km_position:
        size_t next
        size_t used
        uint64_t room

    size_t km_encode_scratch(const km_stack *stack)
    km_progress km_encode(const km_stack *stack, uint64_t *scratch, km_position *position,
                          uint32_t *runs, size_t capacity, km_mask *masks, km_watch *watch)
    km_progress km_transform_all(const km_transform *transform, const km_mask *masks, size_t n,
                                 uint32_t *scratch, km_position *position, uint32_t *runs,
                                 size_t capacity, km_mask *results, km_watch *watch)

    ctypedef struct km_pairs:
        const km_mask *a
        const km_mask *b
        size_t n_a
        size_t n_b

    size_t km_count_pairs(const km_pairs *pairs)
    size_t km_count_same_size_pairs(const km_pairs *pairs)
    size_t km_runs_of_pairs(const km_pairs *pairs)
    bint km_combine_pairs(km_operation operation, const km_pairs *pairs, uint32_t *runs,
                          km_mask *results, size_t *n_runs, km_watch *watch)


cdef extern from "simd/simd.h" nogil:
    ctypedef struct km_kernels:
        const char *name

    km_kernels km_simd
    bint km_simd_select(const char *level)
