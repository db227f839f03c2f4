// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Random numbers that are the same on every machine for the same seed: the engine is one whose numbers the standard
// lays down, and the distributions are our own, in integers, because those of the standard library differ between
// libraries.
#pragma once

#include <cstdint>
#include <random>

namespace pm::replay {

class chance {
public:
	explicit chance(std::uint64_t seed) : engine_(seed) {}

	// From `low` to below `high`, evenly.
	std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + scale(engine_(), high - low); }

	// Exponential with mean `one`, which is below 2^40: von Neumann's method, which compares but takes no
	// logarithm. The length of the first falling run of uniform numbers is odd with probability 1 - 1/e.
	std::uint64_t exponential(std::uint64_t one)
	{
		for (std::uint64_t whole = 0;; ++whole) {
			const std::uint64_t first = engine_();
			std::uint64_t last = first;
			bool odd = true;
			for (std::uint64_t number = engine_(); number < last; number = engine_()) {
				last = number;
				odd = !odd;
			}
			if (odd)
				return whole * one + scale(first, one);
		}
	}

private:
	std::mt19937_64 engine_; // its numbers are laid down by the standard

	// `number` of 2^64, as a share of `one`.
	static std::uint64_t scale(std::uint64_t number, std::uint64_t one)
	{
		return static_cast<std::uint64_t>(static_cast<unsigned __int128>(number) * one >> 64);
	}
};

} // namespace pm::replay
