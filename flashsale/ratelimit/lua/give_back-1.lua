-- Returns the last slots of a leaky bucket's booking, unless others have booked since. O(1).
-- KEYS  1 the limit's key
-- ARGV  1 end of the booking in us  2 end of what is kept of it
-- Returns 1 when returned, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
