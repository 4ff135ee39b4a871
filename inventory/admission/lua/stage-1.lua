-- Adds fields to a hash that is staged for a rebuilt gate. O(fields). May run twice.
-- KEYS  1 staged held or staged buyers
-- ARGV  1 JSON array of field, value, field, value...  2 TTL of the staged hash in seconds
-- Returns the number of fields added
local values = cjson.decode(ARGV[1])
for first = 1, #values, 4000 do
  redis.call('HSET', KEYS[1], unpack(values, first, math.min(first + 3999, #values)))
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return #values / 2
