package sqlrevocation

// What tests cannot wait for, or must interrupt.
var (
	Begin = (*Store).lock
	Clean = (*Store).clean
)
