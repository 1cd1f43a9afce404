"""A simulated hospital: the whole proxy, its clients, HOSP, network and disks in one process and in virtual time."""
