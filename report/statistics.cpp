// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "report/statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace pm::report {

namespace {

constexpr std::size_t least_runs = 3;
constexpr double chance_of_error = 0.05;
// A median scatters this much more than a mean.
constexpr double median_to_mean = 1.2533;

// The mean range of n values of a normal distribution, in standard deviations, from n = 2.
constexpr std::array<double, 9> mean_range{1.128, 1.693, 2.059, 2.326, 2.534, 2.704, 2.847, 2.970, 3.078};

double chance_above(double z) { return std::erfc(z / std::sqrt(2)) / 2; }

std::vector<double> finite(std::vector<double> values)
{
	std::erase_if(values, [](double value) { return !std::isfinite(value); });
	return values;
}

// Ranks are counted exactly, which takes long for many runs: of more than this, the first so many give the interval.
constexpr std::size_t most_ranked = 40;

} // namespace

double scatter_of(const std::vector<double> &all_values)
{
	const auto values = finite(all_values);
	if (values.size() < 2)
		return 0;
	const summary all = summarize(values);
	if (all.n - 2 < mean_range.size())
		return (all.most - all.least) / mean_range[all.n - 2];
	std::vector<double> distances;
	distances.reserve(values.size());
	for (const double value : values)
		distances.push_back(std::abs(value - all.median));
	return 1.4826 * summarize(distances).median;
}

double typical_scatter(const std::vector<std::vector<double>> &samples)
{
	std::vector<double> relative;
	for (const auto &sample : samples) {
		const double level = std::abs(summarize(sample).median);
		if (sample.size() >= 2 && level > 0 && std::isfinite(level))
			relative.push_back(scatter_of(sample) / level);
	}
	return summarize(relative).median;
}

double normal_quantile_above(double p)
{
	double low = -40, high = 40;
	for (int i = 0; i < 80; ++i) {
		const double middle = (low + high) / 2;
		(chance_above(middle) > p ? low : high) = middle;
	}
	return (low + high) / 2;
}

double rank_chance_below(std::size_t k, std::size_t n, std::size_t m)
{
	// ways[i][u]: ways to order i values of one sample and the j of the other so far with U = u.
	const std::size_t most = n * m;
	std::vector<std::vector<double>> ways(n + 1, std::vector<double>(most + 1, 0));
	for (std::size_t i = 0; i <= n; ++i)
		ways[i][0] = 1; // j = 0
	for (std::size_t j = 1; j <= m; ++j) {
		auto next = ways;
		for (std::size_t i = 1; i <= n; ++i)
			for (std::size_t u = 0; u <= most; ++u) // the largest is of the second sample, or of the first
				next[i][u] = ways[i][u] + (u >= j ? next[i - 1][u - j] : 0);
		ways = std::move(next);
	}
	double all = 0, below = 0;
	for (std::size_t u = 0; u <= most; ++u) {
		all += ways[n][u];
		below += u < k ? ways[n][u] : 0;
	}
	return below / all;
}

change difference_of(const std::vector<double> &before, const std::vector<double> &after, const noise &noise)
{
	change found{.before = summarize(before), .after = summarize(after)};
	const std::size_t n = std::min(before.size(), most_ranked), m = std::min(after.size(), most_ranked);
	std::vector<double> differences;
	for (std::size_t i = 0; i < n; ++i)
		for (std::size_t j = 0; j < m; ++j)
			differences.push_back(after[j] == before[i] ? 0 : after[j] - before[i]); // both may be infinite
	std::sort(differences.begin(), differences.end());
	found.shift = summarize(differences).median;

	// The k-th smallest and the k-th largest difference, with the largest k that leaves 95 %.
	std::size_t k = 1;
	while (2 * (k + 1) <= differences.size() && 2 * rank_chance_below(k + 1, n, m) <= chance_of_error)
		++k;
	found.low = differences[k - 1];
	found.high = differences[differences.size() - k];
	found.confidence = std::max(0.0, 1 - 2 * rank_chance_below(k, n, m));

	found.judged = before.size() >= least_runs && after.size() >= least_runs;
	const double level = std::isfinite(found.before.median) ? std::abs(found.before.median) : 0;
	const double scatter = std::max({scatter_of(before), scatter_of(after), noise.typical * level});
	const double error = scatter * median_to_mean *
			     std::sqrt(1.0 / static_cast<double>(before.size()) +
				       1.0 / static_cast<double>(after.size()));
	const double z = normal_quantile_above(chance_of_error / 2 /
					       static_cast<double>(std::max<std::size_t>(noise.comparisons, 1)));
	const double size = std::abs(found.shift);
	found.beyond_noise = found.judged && (found.low > 0 || found.high < 0) && size > z * error &&
			     size > noise.resolution && size > noise.least_relative * level;
	return found;
}

} // namespace pm::report
