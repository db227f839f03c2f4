// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The one place that knows whether the core is compiled for the host or for BPF.
//
// PM_INLINE: BPF objects are linked by `bpftool gen object`, which takes no COMDAT section, so nothing below an entry
// point may be emitted as a function of its own.
//
// PM_STAGE is the exception: a step of the engine that stands for itself in the BPF object. The verifier checks such a
// function once, on its own, instead of on every path that leads to it, which is what keeps the engine within its limits.
//
// PM_HIDDEN: a value that the verifier must not follow. It tells states apart by every constant that ends up in an address,
// so after a search that may find one of 64 places it would walk the rest of the program 64 times. What comes back from
// memory is unknown to it, and one walk serves all. The memory belongs to the object that is being changed.
#pragma once

#include "types.h"

#define PM_STAGE_ARGUMENTS                                                           \
	([[maybe_unused]] const pm_namespace &ns, [[maybe_unused]] pm_connection &c, \
	 [[maybe_unused]] const pm_event &event, [[maybe_unused]] pm_result &result)

#ifdef __bpf__
#define PM_INLINE inline __attribute__((always_inline))
#define PM_HIDDEN volatile
#define PM_STAGE(name)                                                                               \
	PM_INLINE void name##_body PM_STAGE_ARGUMENTS;                                               \
	extern "C" __attribute__((noinline)) int pm_##name(const pm_namespace *ns, pm_connection *c, \
							   const pm_event *event, pm_result *result) \
	{                                                                                            \
		if (!ns || !c || !event || !result)                                                  \
			return -1; /* never: but the verifier wants to see that it was asked */      \
		name##_body(*ns, *c, *event, *result);                                               \
		return 0;                                                                            \
	}                                                                                            \
	PM_INLINE void name PM_STAGE_ARGUMENTS { pm_##name(&ns, &c, &event, &result); }              \
	PM_INLINE void name##_body PM_STAGE_ARGUMENTS
#else
#define PM_INLINE inline
#define PM_HIDDEN
#define PM_STAGE(name) PM_INLINE void name PM_STAGE_ARGUMENTS
#endif

namespace pm {

using u8 = pm_u8;
using u16 = pm_u16;
using u32 = pm_u32;
using u64 = pm_u64;

// Of an object whose type is known: BPF has no unaligned store, so for mere bytes it would take one each.
template <class T>
PM_INLINE void zero(T &object)
{
	__builtin_memset(&object, 0, sizeof object);
}
// The number of the lowest bit that is set; `bits` is not 0.
PM_INLINE constexpr unsigned lowest_bit(u64 bits) { return static_cast<unsigned>(__builtin_ctzll(bits)); }

} // namespace pm
