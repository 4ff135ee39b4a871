-- The version of a complete gate's terms. O(1).
-- KEYS  1 meta  2 stock  3 held  4 buyers  5 queued  6 admitted
-- ARGV  required fields of meta
-- Returns {version, units allocated}; nothing if a key or field is missing or the gate is being rebuilt
local meta = redis.call('HMGET', KEYS[1], 'rebuilding', 'version', 'allocated', unpack(ARGV))
if meta[1] then return {} end
for i = 2, #ARGV + 3 do
  if not meta[i] then return {} end
end
if not is_whole(unpack(KEYS)) then return {} end
return {meta[2], meta[3]}
