// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "replay/mptcpd_setup.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <unistd.h>

namespace pm::replay {

namespace fs = std::filesystem;

namespace {

constexpr const char *daemon_path = "/usr/libexec/mptcpd";

// The folder with our plugins: of the build that this program is part of, or where they were installed.
std::string plugin_folder(std::string_view policy)
{
	std::error_code ignored;
	const fs::path built = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "../mptcpd-plugin";
	return fs::exists(built / fmt::format("{}.so", policy), ignored) ? built.string() : PATHLAB_PLUGIN_FOLDER;
}

} // namespace

expected<plugin_settings> plugin_settings::write(const plugin_options &options)
{
	auto folder = daemon_folder::make();
	if (!folder)
		return tl::unexpected(folder.error());
	plugin_settings made(std::move(*folder));
	std::ofstream file(fmt::format("{}/{}.conf", made.folder(), options.policy->name));
	for (std::size_t i = 0; i < options.policy->settings.size(); ++i)
		file << options.policy->settings[i].name << " = " << options.settings.value[i] << '\n';
	file << "buffer = " << options.buffer_bytes << "\nconnections = " << options.most_connections << '\n';
	if (options.accept_replay)
		file << "accept-replay = yes\n";
	if (!file.flush())
		return fail(fmt::format("cannot write the settings of the mptcpd plugin into {}", made.folder()));
	return made;
}

expected<void> check_mptcpd()
{
	if (access(daemon_path, X_OK) == 0)
		return {};
	return fail(fmt::format("mptcpd is not installed ({} is not there): apt-get install mptcpd mptcpd-plugins",
				daemon_path));
}

expected<void> check_plugin(const policy_info &policy)
{
	const std::string folder = plugin_folder(policy.name);
	if (access(fmt::format("{}/{}.so", folder, policy.name).c_str(), R_OK) == 0)
		return {};
	return fail(fmt::format("there is no mptcpd plugin of policy {} in {}: build with libmptcpd3-dev and "
				"libell-dev installed",
				policy.name, folder));
}

expected<child> start_mptcpd(const policy_info *policy, const plugin_settings *settings, std::optional<unsigned> cpu)
{
	if (auto there = check_mptcpd(); !there)
		return tl::unexpected(there.error());
	if (auto set = write_sysctl("net.mptcp.pm_type", "1"); !set) // else it warns, and manages nothing
		return tl::unexpected(set.error());
	const std::string plugin{settings ? policy->name : "sspi"};
	std::vector<std::string> command{daemon_path, "--load-plugins=" + plugin, "--path-manager=" + plugin};
	if (!settings)
		return child::start(command, cpu);
	if (auto there = check_plugin(*policy); !there)
		return tl::unexpected(there.error());
	command.push_back("--plugin-dir=" + plugin_folder(policy->name));
	for (const char *name : {"PATHLAB_CONFIG_DIR", "PATHLAB_RUN_DIR"})
		setenv(name, settings->folder().c_str(), 1);
	auto started = child::start(command, cpu);
	for (const char *name : {"PATHLAB_CONFIG_DIR", "PATHLAB_RUN_DIR"})
		unsetenv(name);
	return started;
}

} // namespace pm::replay
