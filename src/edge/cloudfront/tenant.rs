//! Invalidations of one tenant of a multi-tenant distribution: CloudFront has
//! calls of their own for them, with an error of their own.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_cloudfront::types;

use super::answer::{PAGE_ITEMS, accepted, made, page};
use super::client::CloudFront;
use super::clock::AnswerDate;
use super::error::explain;
use crate::edge::{AcceptedInvalidation, EdgeError, EdgeErrorKind, InvalidationBatch, Made, Page};

const INVALIDATE: &str = "cloudfront:CreateInvalidationForDistributionTenant";
const LIST: &str = "cloudfront:ListInvalidationsForDistributionTenant";
const READ: &str = "cloudfront:GetInvalidationForDistributionTenant";

/// CloudFront's error code for a tenant that it does not know.
const NOT_FOUND: &str = "EntityNotFound";

impl CloudFront {
    pub(super) async fn invalidate_tenant(
        &self,
        tenant: &Arc<str>,
        batch: &InvalidationBatch,
        request: types::InvalidationBatch,
    ) -> Result<AcceptedInvalidation, EdgeError> {
        let output = self
            .once
            .create_invalidation_for_distribution_tenant()
            .id(&**tenant)
            .invalidation_batch(request)
            .send()
            .await
            .map_err(|error| {
                let distribution = &batch.scope.distribution;
                of_tenant(
                    explain(distribution, INVALIDATE, Some(batch), &error),
                    tenant,
                )
            })?;
        accepted(batch, output.invalidation)
    }

    pub(super) async fn list_tenant(
        &self,
        distribution: &Arc<str>,
        tenant: &Arc<str>,
        from: Option<String>,
    ) -> Result<Page, EdgeError> {
        let (date, asked_at) = (AnswerDate::default(), SystemTime::now());
        let output = self
            .once
            .list_invalidations_for_distribution_tenant()
            .id(&**tenant)
            .max_items(PAGE_ITEMS)
            .set_marker(from)
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|error| of_tenant(explain(distribution, LIST, None, &error), tenant))?;
        let clock = date.difference(asked_at, SystemTime::now());
        page(distribution, output.invalidation_list, clock)
    }

    pub(super) async fn read_tenant(
        &self,
        distribution: &Arc<str>,
        tenant: &Arc<str>,
        id: &str,
    ) -> Result<Made, EdgeError> {
        let output = self
            .once
            .get_invalidation_for_distribution_tenant()
            .distribution_tenant_id(&**tenant)
            .id(id)
            .send()
            .await
            .map_err(|error| of_tenant(explain(distribution, READ, None, &error), tenant))?;
        made(distribution, id, output.invalidation)
    }
}

/// Tells a tenant that does not exist from other refusals.
fn of_tenant(mut error: EdgeError, tenant: &Arc<str>) -> EdgeError {
    if error.code == NOT_FOUND {
        error.kind = EdgeErrorKind::NoSuchTenant {
            tenant: Arc::clone(tenant),
        };
    }
    error
}
