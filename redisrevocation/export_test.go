package redisrevocation

import (
	"context"

	"github.com/seed450a7203/jwthttp/internal/replica"
)

// PurgeScript is for tests of clocks that no follower has.
var PurgeScript = purgeScript

// Common is what a load of s asks first: of where its copy was, what Redis continues from.
func Common(s *Store) (at replica.Position, ok bool, err error) {
	return source{&s.follower}.Common(context.Background(), s.copy.Past())
}
