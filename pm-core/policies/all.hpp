// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Every policy's header; policies.def has the rows that go with them.
#pragma once

#include "announce.hpp"
#include "backup.hpp"
#include "fullmesh.hpp"
#include "ndiffports.hpp"
#include "single_per_interface.hpp"
