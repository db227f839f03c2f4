// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/made_results.hpp"

#include <cmath>
#include <random>

#include "replay/histogram.hpp"

namespace pm::test {

using nlohmann::json;

namespace {

struct maker {
	explicit maker(const made_options &o) : options(o), chance(o.seed) {}
	const made_options &options;
	std::mt19937_64 chance;

	// Not std::normal_distribution, which every library makes otherwise.
	double normal()
	{
		double sum = -6;
		for (int i = 0; i < 12; ++i)
			sum += static_cast<double>(chance() >> 11) * 0x1p-53;
		return sum;
	}
	double scattered(double value) { return value * std::exp(options.scatter * normal()); }

	json latency(double median, double spread, std::uint64_t n)
	{
		replay::histogram all;
		const double centre = scattered(median);
		for (std::uint64_t i = 0; i < n; ++i)
			all.record(static_cast<std::uint64_t>(centre *
							      std::exp(spread * std::abs(normal()) - spread / 2)));
		json raw = json::array();
		all.each([&](std::uint64_t upper_end, std::uint64_t count) { raw.push_back({upper_end, count}); });
		return {{"n", all.n()},
			{"p50", all.percentile(0.5)},
			{"p90", all.percentile(0.9)},
			{"p99", all.percentile(0.99)},
			{"p999", all.percentile(0.999)},
			{"max", all.max()},
			{"histogram", raw}};
	}
};

bool hears(const std::string &backend) { return backend != "none" && backend != "kernel"; }

struct character {
	double join_ns, own_cpu_ns, machine_ns, capacity; // capacity: connections/s
	double memory;
};

character of(const std::string &backend)
{
	if (backend == "none")
		return {0, 0, 120e3, 1e9, 0};
	if (backend == "kernel")
		return {52e3, 0, 131e3, 1e9, 0};
	if (backend == "mptcpd-stock")
		return {140e3, 16e3, 170e3, 3000, 3600};
	if (backend == "mptcpd")
		return {125e3, 14e3, 166e3, 12e3, 12e3};
	if (backend == "ringbuf")
		return {70e3, 7e3, 149e3, 14e3, 7200};
	if (backend == "bpf")
		return {55e3, 0, 134e3, 1e9, 0};
	return {89e3, 9e3, 156e3, 11e3, 6000};
}

// What a backend loses of so many events at this rate.
std::uint64_t lost_of(const std::string &backend, double rate, std::uint64_t events)
{
	const double share = hears(backend) ? std::max(0.0, 1 - of(backend).capacity / rate) : 0;
	return static_cast<std::uint64_t>(share * static_cast<double>(events));
}

json timeline(double peak, double from_ms, double until_ms)
{
	json all = json::array();
	for (double at = 0; at <= 2000; at += 20) {
		double missing = at < from_ms ? 0 : peak * std::min(1.0, (at - from_ms) / 200);
		if (at > from_ms + 200)
			missing = at >= until_ms ? 0 : peak * (until_ms - at) / (until_ms - from_ms - 200);
		all.push_back({at, std::round(missing)});
	}
	return all;
}

json one_run(maker &make, const std::string &scenario, const std::string &backend, const std::string &place,
	     double rate, unsigned repetition, double buffer = 8 << 20)
{
	const character as = of(backend);
	const double slow = place == "vm" ? 6 : 1, own = backend == "netlink" ? make.options.slower : 1;
	const bool overrun = scenario == "overrun", small = scenario == "buffer";
	std::uint64_t lost = overrun ? 0 : lost_of(backend, rate * slow, 8000);
	if (small && hears(backend) && backend != "bpf")
		lost = static_cast<std::uint64_t>(std::max(0.0, 8000 - buffer / 832));
	if (overrun && hears(backend) && backend != "bpf")
		lost = 3000;
	json run = made_run(scenario, backend, place, rate, repetition, lost);
	run["load"]["buffer_bytes"] = static_cast<std::uint64_t>(buffer);
	if (backend != "none" && scenario == "steady")
		run["join_latency_ns"] = make.latency(as.join_ns * slow * own, 0.5, 2000);
	run["cpu_ns_per_connection"] = {{"path_manager",
					 as.own_cpu_ns > 0 ? json(make.scattered(as.own_cpu_ns * slow * own)) : json()},
					{"machine", make.scattered(as.machine_ns * slow + as.own_cpu_ns * (own - 1))}};
	run["memory_kib"] = as.memory > 0 ? json(as.memory) : json();
	run["rate"]["made_per_s"] = make.scattered(rate * 0.999);
	if (overrun || scenario == "mobility")
		run["recovery_ms"] = backend == "none" ? 0 : 5;
	if (scenario == "mobility")
		run["moving_ms"] = backend == "none" ? 0 : 12;
	const bool deaf = backend == "mptcpd-stock" && lost > 0;
	if (overrun && backend != "none") {
		const double until = deaf ? 1e9 : lost > 0 ? make.scattered(900) : 260;
		run["missing"]["timeline_ms"] = timeline(lost > 0 ? 1500 : 20, 100, until);
		run["missing"]["path_seconds"] = lost > 0 ? (deaf ? 1400.0 : 500.0) : 1.0;
		run["missing"]["at_end"] = deaf ? 1500 : 0;
		run["recovery_ms"] = deaf ? json() : json(until - 100);
	}
	return run;
}

json replay_run(maker &make, const std::string &backend, double rate, unsigned repetition)
{
	const bool stock = backend == "mptcpd-stock", full = rate == 0;
	const double offered = full ? 480e3 : rate;
	const std::uint64_t emitted = 20000, lost = stock && offered > 60e3 ? 7600 + 100 * repetition : 0;
	return {{"backend", backend},
		{"policy", "fullmesh"},
		{"trace", "results/recorded.pcap"},
		{"pace", full ? json{{"rate", "max"}} : json{{"rate", rate}}},
		{"offered_per_s", make.scattered(offered)},
		{"emitted", emitted},
		{"tail_emitted", 300},
		{"delivered", emitted - lost},
		{"lost", {{"socket", lost}, {"unread", 0}, {"refused", 0}}},
		{"decisions", {{"expected", 4000}, {"made", 4000}, {"missing", 0}, {"wrong", 0}}},
		{"latency_ns", make.latency(backend == "native" ? 600
					    : backend == "bpf"  ? 2300
								: 30e3,
					    0.7, 4000)},
		{"cpu_ns_per_event", make.scattered(backend == "native" ? 300
						    : backend == "bpf"  ? 600
									: 5000)},
		{"tail_delivered", lost ? 0 : 1},
		{"sent_late_ns", {{"p50", 100}, {"p99", 2000}, {"max", 90000}}}};
}

void add_stress(maker &make, json &all, const std::string &place, const std::vector<std::string> &backends,
		std::initializer_list<double> rates)
{
	for (unsigned repetition = 1; repetition <= make.options.repetitions; ++repetition) {
		for (const std::string &backend : backends) {
			for (const double rate : rates)
				all.push_back(one_run(make, "steady", backend, place, rate, repetition));
			all.push_back(one_run(make, "overrun", backend, place, 1e6, repetition, 16384));
			all.push_back(one_run(make, "mobility", backend, place, *rates.begin(), repetition));
			if (hears(backend))
				for (const double buffer : {65536.0, 262144.0, 1048576.0, 4194304.0, 8388608.0})
					all.push_back(one_run(make, "buffer", backend, place, *(rates.end() - 1),
							      repetition, buffer));
		}
	}
}

} // namespace

json made_run(const std::string &scenario, const std::string &backend, const std::string &place, double rate,
	      unsigned repetition, std::uint64_t lost_at_socket)
{
	const std::uint64_t connections = 2000, emitted = 4 * connections;
	json run = {{"scenario", scenario},
		    {"backend", backend},
		    {"policy", "fullmesh"},
		    {"place", place},
		    {"load",
		     {{"rate", rate < 1e6 ? json(rate) : json("max")},
		      {"connections", connections},
		      {"paths", 2},
		      {"families", "4"},
		      {"hold_ms", 30},
		      {"buffer_bytes", 8388608},
		      {"announced", 0},
		      {"contention", 0},
		      {"priority", "equal"}}},
		    {"repetition", repetition},
		    {"seconds", static_cast<double>(connections) / rate},
		    {"excluded", nullptr},
		    {"connections",
		     {{"asked", connections}, {"made", connections}, {"failed", 0}, {"sent_late_p99_ns", 120000}}},
		    {"events", nullptr},
		    {"commands", nullptr},
		    {"subflows",
		     {{"expected", connections}, {"client", connections}, {"server", connections}, {"missing", 0}}},
		    {"missing", {{"at_end", 0}, {"most", 4}, {"path_seconds", 0.05}, {"timeline_ms", json::array()}}},
		    {"join_latency_ns", nullptr},
		    {"rate", {{"offered_per_s", rate}, {"made_per_s", rate}}},
		    {"cpu_ns_per_connection", {{"path_manager", nullptr}, {"machine", 150000}}},
		    {"memory_kib", nullptr},
		    {"recovery_ms", nullptr},
		    {"moving_ms", nullptr}};
	if (hears(backend))
		run["events"] = {{"emitted", emitted},
				 {"emitted_by", "implied"},
				 {"delivered", emitted - lost_at_socket},
				 {"acted_on", emitted - lost_at_socket},
				 {"lost",
				  {{"socket", lost_at_socket},
				   {"unread", 0},
				   {"overrun", 0},
				   {"ringbuf", 0},
				   {"refused", 0},
				   {"table", 0}}}};
	return run;
}

json made_results(const made_options &options)
{
	maker make{options};
	json stress = json::array(), replay = json::array();
	if (options.stress) {
		add_stress(make, stress, "host", options.backends, {500, 1000, 2000, 4000, 8000});
		add_stress(make, stress, "vm", options.vm_backends, {200, 400, 800});
	}
	if (options.replay)
		for (unsigned repetition = 1; repetition <= options.repetitions; ++repetition)
			for (const char *backend : {"mptcpd-stock", "mptcpd", "netlink", "bpf", "native"})
				for (const double rate : {10e3, 50e3, 100e3, 0.0})
					replay.push_back(replay_run(make, backend, rate, repetition));
	return {{"schema", "pathlab-results/2"},
		{"machine",
		 {{"processor", "Made-up Processor"},
		  {"processors", 2},
		  {"memory", "4000000 kB"},
		  {"architecture", "x86_64"},
		  {"kernel", "Linux 6.18"}}},
		{"versions", {{"pathlab", "0.1.0"}, {"compiler", "12"}, {"libbpf", "v1.1"}, {"mptcpd", nullptr}}},
		{"command", "pathlab compare --quick"},
		{"started", "2026-11-21T19:20:00Z"},
		{"complete", true},
		{"failure", nullptr},
		{"left_out", json::array({{{"backend", "bpf"},
					   {"place", "host"},
					   {"reason", "this kernel's mptcp_pm_ops has no BPF callbacks"}}})},
		{"probes", {{"rate_with", 9800.0}, {"rate_without", 9900.0}, {"cost_share", 0.01}, {"repetitions", 3}}},
		{"recording", {{"connections", 2000}, {"events", 14000}, {"lost", 0}}},
		{"replay", replay},
		{"stress", stress}};
}

} // namespace pm::test
