package sqlrevocation

// What tests cannot wait for, or hold in the midst.
var (
	Begin = (*Store).begin
	Clean = (*Store).clean
)
