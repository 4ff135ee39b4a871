-- Extends a held lock. O(1). May run twice.
-- KEYS  1 lock
-- ARGV  1 owner  2 ttl in milliseconds
-- Returns 1, or 0 if the owner no longer holds the lock
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
