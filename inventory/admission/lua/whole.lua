-- Part of a script: whether the gate has all its keys, as far as that can be seen. O(1).
-- The stock key always exists. Redis deletes an empty hash, so held and buyers may be missing only while no units are out.
-- An empty stream still exists. meta 'unheld' and 'unbought' are the units for which held and buyers had no entry when the gate
-- was opened; 0 if PostgreSQL is consistent.
local function is_whole(meta, stock, held, buyers, queued, admitted)
  local left = tonumber(redis.call('GET', stock) or '')
  if not left then return false end
  if redis.call('EXISTS', held, buyers, admitted) == 3 then return true end
  local terms = redis.call('HMGET', meta, 'allocated', 'sold', 'unheld', 'unbought')
  if not terms[1] or not terms[2] then return false end
  local out = terms[1] - left
  local function is_lost(key, units, known) return units > tonumber(known or '0') and redis.call('EXISTS', key) == 0 end
  if is_lost(held, out - terms[2], terms[3]) or is_lost(buyers, out, terms[4]) then return false end
  return redis.call('EXISTS', admitted) == 1 or redis.call('EXISTS', queued) == 0
end
