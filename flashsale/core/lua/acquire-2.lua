-- Takes a lock and the next fencing number. O(1).
-- KEYS  1 lock  2 fence counter
-- ARGV  1 owner  2 ttl in milliseconds
-- Returns the fencing number, or 0 when somebody holds the lock
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return redis.call('INCR', KEYS[2])
