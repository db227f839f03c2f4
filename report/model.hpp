// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A queue before a path manager, as a fluid: what of a burst is lost that arrives faster than it is read. docs/advise.md
// says what it assumes and leaves out. One parameter is fitted, the rest is measured.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pm-core/types.h"
#include "report/points.hpp"

namespace pm::report {

// What an event takes of the buffer that was asked for. Of a socket's: a byte asked for is two in the kernel (socket(7)), and an
// event is charged 832 of those. Of a ring buffer's: a header and a struct pm_event.
inline constexpr double bytes_in_socket = 416, bytes_in_ring = 8 + sizeof(pm_event);

// How a backend reads.
struct service {
	double events_per_s = 0; // while it reads
	double pause_s = 0; // how long it is away when a burst begins: the fitted parameter
	double events_per_connection = 0;
	double fixed_events = 0; // room, where the buffer cannot be set; 0: it can
	double bytes_per_event = bytes_in_socket;
};

// So many connections, at so many a second, of `all` connections that count.
struct burst {
	double connections = 0, per_s = 0, all = 0;
};

// The most events that wait at a time; and the share of all events that is lost with room for so many.
[[nodiscard]] double longest_queue(const service &by, const burst &of);
[[nodiscard]] double lost_share(const service &by, const burst &of, double room);
// The least buffer in bytes for which not more than this share is lost.
[[nodiscard]] double buffer_for(const service &by, const burst &of, double share);

struct checked_point {
	const point *at;
	double predicted, measured; // share of the events lost; measured: the median
	double least, most; // of the runs
};

struct fitted_model {
	std::string backend, place;
	service by; // fitted to the median of the runs
	service at_worst; // fitted to the run that lost most
	// Whether any run that it was fitted to lost something. If not, how long the backend is away is not known: it may be for
	// any time that the buffers could bridge.
	bool fitted_to_loss = false;
	std::vector<checked_point> checks; // on loads that it was not fitted on
	// |predicted - measured|, over the checks where any was lost, or should have been: that nothing is lost of a load that
	// asks nothing of a buffer is no achievement.
	[[nodiscard]] std::size_t telling() const; // how many these are
	[[nodiscard]] double median_error() const; // 0 if there are none
	[[nodiscard]] double largest_error() const;
};

// Nothing where the results lack what it needs: events that are read, and their processor time.
[[nodiscard]] std::optional<fitted_model> fit_model(const std::vector<point> &points, const std::string &place,
						    const std::string &backend);

} // namespace pm::report
