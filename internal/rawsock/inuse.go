package rawsock

// AddressInUse tells whether a bind failed because somebody else has the address, whatever the platform calls it.
func AddressInUse(err error) bool { return addressInUse(err) }

// NoDescriptors reports whether a call failed because the process or the system has no descriptors left.
func NoDescriptors(err error) bool { return noDescriptors(err) }
