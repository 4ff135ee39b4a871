-- Takes a lock and the next fencing token. Tokens rise even if the counter was lost, as long as the clock does not go back. O(1).
-- KEYS  1 lock  2 token counter
-- ARGV  1 owner  2 ttl in milliseconds  3 ttl of the counter in seconds
-- Returns the fencing token, or 0 if another owner holds the lock
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local time = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, time[1] * 1000000 + time[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'EX', ARGV[3])
return fence
