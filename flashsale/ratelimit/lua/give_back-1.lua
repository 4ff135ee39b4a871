-- Returns the last slots of a leaky bucket's reservation, unless a later reservation exists. O(1).
-- KEYS  1 the limit's key
-- ARGV  1 end of the reservation in us  2 end of the part that is kept
-- Returns 1 if the slots were returned, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
