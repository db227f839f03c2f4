// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A log-linear histogram of nanoseconds: 64 buckets for each power of two, so a value is known to 1.6 % or better; up to
// 18 minutes. Recording is a few instructions and never allocates. And medians with their spread.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

namespace pm::replay {

class histogram {
public:
	void record(std::uint64_t value) noexcept
	{
		++counts_[bucket(value)];
		++n_;
		max_ = std::max(max_, value);
	}

	[[nodiscard]] std::uint64_t n() const noexcept { return n_; }
	[[nodiscard]] std::uint64_t max() const noexcept { return max_; }

	// The value below or at which a share of all values lies (0 < share <= 1): the upper end of its bucket, at most max().
	// 0 without values.
	[[nodiscard]] std::uint64_t percentile(double share) const noexcept
	{
		const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(n_)));
		std::uint64_t below = 0;
		for (std::size_t b = 0; b < buckets; ++b) {
			below += counts_[b];
			if (below >= rank && below > 0)
				return std::min(upper_end(b), max_);
		}
		return max_;
	}

	// Calls take(upper end, count) for each bucket that is not empty: the raw data.
	template <class Take>
	void each(Take &&take) const
	{
		for (std::size_t b = 0; b < buckets; ++b)
			if (counts_[b])
				take(upper_end(b), counts_[b]);
	}

private:
	static constexpr unsigned linear_bits = 6, most_bits = 40;
	static constexpr std::size_t linear = 1u << linear_bits;
	static constexpr std::size_t buckets = (most_bits - linear_bits + 1) * linear;

	static std::size_t bucket(std::uint64_t value) noexcept
	{
		const auto width = static_cast<unsigned>(std::bit_width(value));
		if (width <= linear_bits)
			return static_cast<std::size_t>(value);
		const unsigned shift = width - linear_bits - 1;
		const std::size_t place = (std::size_t{shift} + 1) * linear + (value >> shift) - linear;
		return std::min(place, buckets - 1);
	}
	static std::uint64_t upper_end(std::size_t bucket) noexcept
	{
		if (bucket < linear)
			return bucket;
		const std::size_t shift = bucket / linear - 1;
		return ((std::uint64_t{bucket % linear} + linear + 1) << shift) - 1;
	}

	std::array<std::uint64_t, buckets> counts_{};
	std::uint64_t n_ = 0, max_ = 0;
};

// A figure over repetitions.
struct summary {
	std::size_t n = 0;
	double median = 0, least = 0, most = 0;
};

[[nodiscard]] inline summary summarize(std::vector<double> values)
{
	if (values.empty())
		return {};
	std::sort(values.begin(), values.end());
	const std::size_t n = values.size(), middle = n / 2;
	const double median = n % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
	return {n, median, values.front(), values.back()};
}

struct interval {
	double low = 0, high = 0;
};

// Where the median of what the values were drawn from lies, with a chance of 95 % or a little more, whatever its distribution
// (by their ranks: each value is as likely above it as below). Nothing: they are less than six, too few for that.
[[nodiscard]] inline std::optional<interval> interval_of_median(std::vector<double> values)
{
	const std::size_t n = values.size();
	std::sort(values.begin(), values.end());
	const auto choose = [n](std::size_t k) { // logarithm
		return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(static_cast<double>(n - k) + 1.0);
	};
	std::size_t k = 0; // so many may be left out on either side
	for (double outside = 0; k < n / 2; ++k)
		if ((outside += std::exp(choose(k) - static_cast<double>(n) * std::log(2.0))) > 0.025)
			break;
	if (k == 0)
		return std::nullopt;
	return interval{values[k - 1], values[n - k]};
}

} // namespace pm::replay
