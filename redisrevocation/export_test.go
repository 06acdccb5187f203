package redisrevocation

// PurgeScript is for tests of clocks that no follower has.
var PurgeScript = purgeScript
