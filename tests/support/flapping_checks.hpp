// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// An address, or an interface, that goes and comes a thousand times under open connections: in the end each has its paths,
// and no memory has been lost. For any means.
#pragma once

#include "tests/support/charge.hpp"

namespace pm::test {

enum class what_flaps { address, interface };

void expect_a_thousand_flaps_to_end_well(means by, what_flaps what);

} // namespace pm::test
