-- Prolongs a lock that is still ours, or ends it with a ttl of 0. O(1).
-- KEYS  1 lock
-- ARGV  1 owner  2 ttl in milliseconds
-- Returns 1, or 0 when the lock is no longer ours
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
