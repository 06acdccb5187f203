package sqlrevocation

// What tests cannot wait for, or must interrupt.
var (
	Begin   = (*Store).lock
	Clean   = (*Store).clean
	MayPass = mayPass
)

// CommitError returns err as the error of a COMMIT.
func CommitError(err error) error { return &commitError{err} }
