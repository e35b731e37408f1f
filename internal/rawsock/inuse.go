package rawsock

// AddressInUse tells whether a bind failed because somebody else has the address, whatever the platform calls it.
func AddressInUse(err error) bool { return addressInUse(err) }
