// SPDX-License-Identifier: Apache-2.0
// A table, its registry and a real Pipeline and Sink over net_ring devices: all of the DPDK engine, and of the XDP
// engine the control and the worker that takes what the program leaves.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/pipeline.h"
#include "engines/engine.h"
#include "flow/registry.h"
#include "flow/settle.h"
#include "flow/storage.h"
#include "flow/sweep.h"
#include "flow/table.h"
#include "model/snapshot.h"
#include "rollout/switch.h"

namespace teal::tests {

class PipelineEngine : public Engine {
 public:
  // `secret` takes the place of the one that the storage drew.
  PipelineEngine(std::unique_ptr<flow::Storage> storage, const teal_secret& secret);

  void publish(const std::string& config, const World& world) override;
  void cutover(const std::string& service, model::Pool to) override;
  void rollback(const std::string& service, bool reset) override;
  void set_share(const std::string& service, uint32_t share) override;
  void set_split(const std::string& service, const SplitOrder& order) override;
  void drained(const std::string& service) override;
  void set_backend(const std::string& service, const std::string& backend, std::optional<uint32_t> weight,
                   std::optional<uint8_t> state) override;
  std::vector<Output> advance(TestTime time) override;
  std::vector<Output> run(uint16_t port, const std::vector<Bytes>& frames) override;
  void take_locks(bool taken) override;
  void sweep() override;
  void settle(bool data) override;
  std::optional<FlowEntry> flow(const std::string& service, const model::Endpoint& client) const override;
  std::optional<FlowEntry> affinity(const std::string& service, const model::Address& client) const override;
  uint64_t affinity_entries() const override;
  uint16_t number_of(const std::string& service) const override;
  std::span<const teal_bucket> buckets() const override { return {storage_->buckets(), storage_->head().buckets}; }
  Counts counts() const override;
  uint64_t close_and_count_leaks() override;

 protected:
  // Called with each new snapshot, before the workers see it.
  virtual void published(const model::Snapshot&) {}
  [[nodiscard]] const World& world() const { return world_; }

 private:
  [[nodiscard]] uint32_t ticks() const;
  [[nodiscard]] uint64_t tsc() const;
  void set_clock();
  [[nodiscard]] const teal_split& split_of(const std::string& service) const;
  void commit(const std::string& service, const rollout::SplitChange& change);
  void store_split(uint16_t group, const teal_split& next);
  void follow_with_preview(uint16_t group);
  void follow_with_preview_clients(uint16_t group);
  [[nodiscard]] std::optional<FlowEntry> entry(const teal_flow_key& key) const;
  void publish_view();
  void make_pipeline();
  void walk(std::vector<flow::Ageing> ageing);

  std::unique_ptr<flow::Storage> storage_;
  flow::Table table_;
  flow::Registry registry_;
  model::Config config_;
  World world_;
  model::MaglevCache maglev_;
  std::unique_ptr<const model::Snapshot> snapshot_;
  dataplane::Counters counters_;
  dataplane::Sink sink_;
  std::unique_ptr<dataplane::Pipeline> pipeline_;
  std::unique_ptr<flow::Sweeper> sweeper_;
  std::unique_ptr<flow::Settler> settler_;
  TestTime now_ = std::chrono::seconds(1000);  // the clock never reads 0: rate limits count from there
};

}  // namespace teal::tests
