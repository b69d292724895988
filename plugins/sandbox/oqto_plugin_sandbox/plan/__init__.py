"""From a policy to an ordered list of mounts, which is data: rendered for bubblewrap, walked by the simulator."""
