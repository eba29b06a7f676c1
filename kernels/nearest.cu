// nearest.cu: copy one source element to every output, bit for bit.
//
// MATHS     out[o, i_0 … i_N-1, c] = source[o, j_0 … j_N-1, c] with j_d = min(floor((i_d + offset) step_d), n_in_d - 1);
//           offset 0 (nearest), 1/2 (nearest-exact); step 1 and offset 0 copy an axis.
// SHAPES    source [outer, outer, n_in_0 …, inner], out [outer, outer, n_out_0 …, inner], any strides; see geometry.cuh
// TABLES    none: a coordinate is one product
// THREADS   one thread, one output at a time; neighbours in x are neighbours in the last dimension
// TRAFFIC   reads the chosen source elements, writes |out|; elements are bits, whatever their dtype
// CONTRACT  addresses and strides are multiples of the element; out overlaps neither itself nor source
// LAUNCH    any 1-D grid and block: grid-stride; no shared memory, no atomics
// VERSIONS  1 one element a thread: predicted from counted bytes, not yet measured
#include "geometry.cuh"
#include "elements.cuh"
#include "coordinates.cuh"
#include "pixel.cuh"

extern "C" __global__ void CS_ENTRY(const Element* __restrict__ source, Element* __restrict__ out,
                                    const __grid_constant__ Geometry g) {
    const Index total = g.outputs();
    for (Index t = first_output(); t < total; t += output_step()) {
        const Position p(g, t);
        Index from = p.source;
        for (int d = 0; d < CS_AXES; ++d) from += pixel(g.axis[d], p.i[d]) * Index(g.axis[d].source_stride);
        out[p.out] = source[from];
    }
}
